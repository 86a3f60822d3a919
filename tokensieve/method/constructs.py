"""Token constructs: the words and n-grams most informative about the label (step 1 of the method).

They are ranked by the mutual information, in nats, between a construct's presence in a text and the
text's label. The idea comes from arXiv 2508.08635; the ranking is our own. For multi-label data,
the information about the presence of each label is summed over the labels. This is the amount by
which the construct reduces the binary cross entropy, which is also a sum over the labels. Treating
each set of labels as a class would not work: most sets occur only once.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from tokensieve.data.labels import class_names
from tokensieve.inference.words import count_words, ngrams
from tokensieve.method.information import (
    Measure,
    least_texts,
    multi_label_information,
    single_label_information,
)
from tokensieve.method.ngram_counts import Corpus, Ngrams, count_labels, frequent_longer, frequent_words
from tokensieve.method.overlaps import without_overlaps
from tokensieve.model.batches import token_offsets
from tokensieve.truncation import HEAD


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
    classes = class_names(labels)
    numbers = {name: number for number, name in enumerate(classes)}
    numbered = [tuple(numbers[name] for name in names) for names in labels]
    sizes = Counter(number for names in numbered for number in names)
    measure = (multi_label_information if multi_label else single_label_information)(sizes, len(texts))
    corpus = Corpus.of(texts)
    best: list[_Ranked] = []
    ngrams: Ngrams | None = None
    for _ in range(longest):
        needed = least
        if len(best) == most:  # a rarer n-gram cannot be better than the last of them
            needed = max(least, least_texts(best[-1].information, sizes, len(texts), multi_label))
        ngrams = frequent_longer(corpus, ngrams, needed) if ngrams else frequent_words(corpus, needed)
        best = _best([*best, *_ranked(corpus, ngrams, numbered, measure, most)], most)
    return [_construct(found, classes, sizes, len(texts), multi_label) for found in best]


class _Ranked(NamedTuple):
    """An n-gram, before its label is known."""

    text: str
    information: float  # nats
    texts: int
    held: dict[int, int]  # the number of texts with it by label


def _best(found: Iterable[_Ranked], most: int) -> list[_Ranked]:
    return sorted(found, key=lambda own: (-own.information, -own.texts, own.text))[:most]


def _ranked(
    corpus: Corpus, ngrams: Ngrams, labels: Sequence[Sequence[int]], measure: Measure, most: int
) -> Iterator[_Ranked]:
    """Yield the `most` best n-grams of one length, and others as good as the last of them."""
    counts = count_labels(corpus, ngrams, labels)
    texts = ngrams.texts.tolist()
    found = [round(measure(counts.of(number), n), 9) for number, n in enumerate(texts)]
    lowest = sorted(found)[-most] if len(found) > most else 0.0
    for number, information in enumerate(found):
        if information >= lowest:
            yield _Ranked(ngrams.name(number, corpus), information, texts[number], counts.of(number))


def _construct(
    found: _Ranked, classes: Sequence[str], sizes: Mapping[int, int], total: int, multi_label: bool
) -> Construct:
    """Return the construct with its label, in `total` texts with `sizes` texts per label."""
    n = found.texts
    weights = {"": 0.0} if multi_label else {}
    weights |= {
        classes[label]: k * math.log(k * total / (n * sizes[label])) / total
        for label, k in found.held.items()
    }
    label = max(weights, key=weights.__getitem__)
    return Construct(found.text, label, found.information, round(weights[label], 9), n)


def top_constructs(constructs: Sequence[Construct], most: int = 10) -> dict[str, list[str]]:
    """Return for each label the texts of the `most` constructs with the highest weight.

    Of parts of one sentence, only the one with the highest weight is among them, or the longest.
    """
    table: dict[str, list[Construct]] = defaultdict(list)
    for construct in sorted(constructs, key=lambda own: (-own.weight, -count_words(own.text))):
        if construct.label:
            table[construct.label].append(construct)
    return {label: [own.text for own in without_overlaps(table[label], most)] for label in sorted(table)}


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
