"""Token constructs: the words and n-grams most informative about the label (step 1 of the method).

They are ranked by the mutual information, in nats, between a construct's presence in a text and the
text's label. The idea is that of arXiv 2508.08635, the ranking is ours. For multi-label data, the
information about the presence of each label is summed over the labels. This is how much the
construct reduces the binary cross entropy, which is summed over the labels too. Treating each set
of labels as a class would not work: most sets occur only once.
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
        label: The label that the construct indicates most. Empty if it indicates none, which
            multi-label data allow.
        information: The mutual information with the labels, in nats.
        weight: The part of `label` in it, in nats.
        texts: The number of training texts that contain the construct.
    """

    text: str
    label: str
    information: float
    weight: float
    texts: int


def ngrams(text: str, longest: int) -> Iterator[tuple[str, int, int]]:
    """Yield the n-grams of 1 to `longest` words in `text`, in lower case, with their first and one past their last character."""
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
    """Return the `most` most informative constructs of 1 to `longest` words that occur in at least `least` texts.

    If `multi_label`, a text may have any number of labels, otherwise it has one.

    Ties are broken by the number of texts, then alphabetically. So the order of the texts does not
    matter.
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
    """Return the `most` constructs with the highest weight for each label."""
    table: dict[str, list[str]] = defaultdict(list)
    for construct in sorted(constructs, key=lambda construct: -construct.weight):
        if construct.label and len(table[construct.label]) < most:
            table[construct.label].append(construct.text)
    return dict(sorted(table.items()))


def tokens_in_constructs(
    text: str, offsets: Sequence[tuple[int, int]], constructs: frozenset[str], longest: int
) -> list[bool]:
    """Return for each token of `text` whether it belongs to a construct.

    `offsets` are the first and one past the last character of each token; special tokens have an
    empty span.
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
    """Return for each token of each text, as `tokenize` returns them, whether it belongs to one of `constructs`.

    Texts and results have the same keys. Constructs have 1 to `max_words` words.
    """
    known = frozenset(constructs)
    offsets = token_offsets(tokenizer, list(texts.values()), max_length, truncation)
    return {
        key: tokens_in_constructs(text, spans, known, max_words)
        for (key, text), spans in zip(texts.items(), offsets, strict=True)
    }


Measure = Callable[[Mapping[str, int], int], float]
"""Returns the information of a construct, from its number of texts by label and in total."""


def _single_label_information(of_label: Mapping[str, int], total: int) -> Measure:
    """Return the measure for `total` texts with one label each, `of_label` texts per label."""
    entropy_terms = {label: _xlogx(n) for label, n in of_label.items()}
    all_terms = math.fsum(entropy_terms.values())

    def information(held: Mapping[str, int], n: int) -> float:
        # I(X;Y) = (sum of n log n over the cells - over the rows - over the columns + total log
        # total) / total. A cell counts the texts of a label with or without the construct. Labels
        # that never occur with it cancel.
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
    """Return the measure for `total` multi-label texts: the information about each label's presence, summed."""

    def pair(k: int, n: int, have: int) -> float:
        """Return the information of one label: `k` of the construct's `n` texts have it, and `have` of all texts."""
        cells = _xlogx(k) + _xlogx(n - k) + _xlogx(have - k) + _xlogx(total - n - have + k)
        return (
            cells - _xlogx(n) - _xlogx(total - n) - _xlogx(have) - _xlogx(total - have) + _xlogx(total)
        ) / total

    def disjoint(n: int, have: int) -> float:
        # If n + have > total, they must co-occur, so `information` subtracts this term again.
        return pair(0, n, have) if n + have <= total else 0.0

    @cache
    def all_disjoint(n: int) -> float:
        # A label that never occurs with the construct is information too, equal for all constructs
        # with n texts.
        return math.fsum(disjoint(n, have) for have in of_label.values())

    def information(held: Mapping[str, int], n: int) -> float:
        met = math.fsum(
            pair(k, n, of_label[label]) - disjoint(n, of_label[label]) for label, k in held.items()
        )
        return max(0.0, all_disjoint(n) + met)

    return information


def _xlogx(n: int) -> float:
    return n * math.log(n) if n else 0.0
