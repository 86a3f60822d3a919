"""Token constructs: the words and n-grams most informative about the label (step 1 of the method).

They are ranked by the mutual information, in nats, between a construct's presence in a text and the
text's label. The idea comes from arXiv 2508.08635; the ranking is our own. For multi-label data,
the information about the presence of each label is summed over the labels. This is the amount by
which the construct reduces the binary cross entropy, which is also a sum over the labels. Treating
each set of labels as a class would not work: most sets occur only once.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from transformers import PreTrainedTokenizerFast

from tokensieve.model.batches import token_offsets
from tokensieve.truncation import HEAD

WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Construct:
    """A word or n-gram.

    Attributes:
        text: In lower case, with one space between words.
        label: The label that the construct indicates most. It is empty if the construct indicates
            no label, which is possible for multi-label data only.
        information: The mutual information with the labels, in nats.
        weight: The part of `information` that comes from `label`, in nats.
        texts: The number of training texts that contain the construct.
    """

    text: str
    label: str
    information: float
    weight: float
    texts: int


def ngrams(text: str, longest: int) -> Iterator[tuple[str, int, int]]:
    """Yield the n-grams of 1 to `longest` words in `text`, in lower case.

    With each n-gram comes the index of its first character and the index after its last character.
    """
    words = [(match.group().lower(), match.start(), match.end()) for match in WORD.finditer(text)]
    for first in range(len(words)):
        for last in range(first, min(first + longest, len(words))):
            yield " ".join(word for word, _, _ in words[first : last + 1]), words[first][1], words[last][2]


def rank_constructs(
    texts: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    most: int,
    longest: int = 3,
    least: int = 2,
    multi_label: bool = False,
) -> list[Construct]:
    """Return the `most` most informative constructs, the best first.

    They have 1 to `longest` words and occur in at least `least` texts. If `multi_label`, a text may
    have any number of labels, otherwise it has one. Ties are broken by the number of texts, then
    alphabetically, so the order of the texts does not matter.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    holding: Counter[str] = Counter()
    of_label: Counter[str] = Counter()
    for text, names in zip(texts, labels, strict=True):
        of_label.update(names)
        for construct in {span for span, _, _ in ngrams(text, longest)}:
            holding[construct] += 1
            counts[construct].update(names)
    total = len(texts)
    measure = (
        _single_label_information(of_label, total)
        if not multi_label
        else _multilabel_information(of_label, total)
    )
    found = []
    for text, n in holding.items():
        if n < least:
            continue
        held = counts[text]
        information = measure(held, n)
        weights = {"": 0.0} if multi_label else {}
        weights |= {
            label: held[label] * math.log(held[label] * total / (n * of_label[label])) / total
            for label in sorted(held)
        }
        label = max(weights, key=weights.__getitem__)
        found.append(Construct(text, label, round(information, 9), round(weights[label], 9), n))
    found.sort(key=lambda construct: (-construct.information, -construct.texts, construct.text))
    return found[:most]


def top_constructs(constructs: Sequence[Construct], most: int = 10) -> dict[str, list[str]]:
    """Return for each label the texts of the `most` constructs with the highest weight."""
    table: dict[str, list[str]] = defaultdict(list)
    for construct in sorted(constructs, key=lambda construct: -construct.weight):
        if construct.label and len(table[construct.label]) < most:
            table[construct.label].append(construct.text)
    return dict(sorted(table.items()))


def tokens_in_constructs(
    text: str, offsets: Sequence[tuple[int, int]], constructs: frozenset[str], longest: int
) -> list[bool]:
    """Return for each token of `text` whether it belongs to a construct.

    Args:
        text: The text.
        offsets: The index of each token's first character, and the index after its last one. They
            are equal for special tokens.
        constructs: The texts of the constructs.
        longest: The number of words of the longest construct.
    """
    covered = bytearray(len(text))
    for construct, start, end in ngrams(text, longest):
        if construct in constructs:
            covered[start:end] = b"\1" * (end - start)
    return [start < end and any(covered[start:end]) for start, end in offsets]


def construct_positions(
    tokenizer: PreTrainedTokenizerFast,
    texts: Mapping[int, str],
    constructs: Collection[str],
    max_words: int,
    max_length: int,
    truncation: str = HEAD,
) -> dict[int, list[bool]]:
    """Return for each token of each text whether it belongs to one of `constructs`.

    The tokens are those that `model.batches.tokenize` returns. Texts and results have the same
    keys. Constructs have 1 to `max_words` words.
    """
    known = frozenset(constructs)
    offsets = token_offsets(tokenizer, list(texts.values()), max_length, truncation)
    return {
        key: tokens_in_constructs(text, spans, known, max_words)
        for (key, text), spans in zip(texts.items(), offsets, strict=True)
    }


Measure = Callable[[Mapping[str, int], int], float]
"""A function that returns the information of a construct, in nats.

Its arguments are the number of texts with the construct, by label and in total.
"""


def _single_label_information(of_label: Mapping[str, int], total: int) -> Measure:
    """Return the measure for `total` texts with one label each; `of_label` counts them by label."""
    entropy_terms = {label: _xlogx(n) for label, n in of_label.items()}
    all_terms = math.fsum(entropy_terms.values())

    def information(held: Mapping[str, int], n: int) -> float:
        # The mutual information of two variables from their table of counts is the sum of n log n
        # over the cells, minus the sums over the rows and over the columns, plus total log total,
        # all divided by the total. A cell counts the texts of a label with or without the
        # construct. Labels that never occur with the construct cancel.
        without = all_terms
        present = 0.0
        for label, k in held.items():
            present += _xlogx(k)
            without += _xlogx(of_label[label] - k) - entropy_terms[label]
        return max(
            0.0, (present + without - _xlogx(n) - _xlogx(total - n) - all_terms + _xlogx(total)) / total
        )

    return information


def _multilabel_information(of_label: Mapping[str, int], total: int) -> Measure:
    """Return the measure for `total` multi-label texts: a sum over the labels."""

    def pair(k: int, n: int, have: int) -> float:
        """Return the information about one label.

        Of the `n` texts with the construct, `k` have the label. Of all texts, `have` do.
        """
        cells = _xlogx(k) + _xlogx(n - k) + _xlogx(have - k) + _xlogx(total - n - have + k)
        return (
            cells - _xlogx(n) - _xlogx(total - n) - _xlogx(have) - _xlogx(total - have) + _xlogx(total)
        ) / total

    def disjoint(n: int, have: int) -> float:
        # If n + have > total, the two must co-occur. The value does not matter then, because
        # `information` subtracts it again.
        return pair(0, n, have) if n + have <= total else 0.0

    @cache
    def all_disjoint(n: int) -> float:
        # A label that never occurs with the construct carries information too. It is the same for
        # all constructs with n texts.
        return math.fsum(disjoint(n, have) for have in of_label.values())

    def information(held: Mapping[str, int], n: int) -> float:
        met = math.fsum(
            pair(k, n, of_label[label]) - disjoint(n, of_label[label]) for label, k in held.items()
        )
        return max(0.0, all_disjoint(n) + met)

    return information


def _xlogx(n: int) -> float:
    return n * math.log(n) if n else 0.0
