"""Token constructs: the words and n-grams of the training texts that tell most about the label.

Ranked by the mutual information, in nats, between a construct's presence in a text and the text's label
(step 1 of token-driven sparse fine-tuning, after arXiv 2508.08635; the ranking is ours).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Construct:
    """A word or n-gram (lower case, one space between words).

    `information` is in nats; `label` is the label it speaks for most, with `weight` nats of its own; `texts` of training hold it.
    """

    text: str
    label: str
    information: float
    weight: float
    texts: int


def spans(text: str, longest: int) -> Iterator[tuple[str, int, int]]:
    """All n-grams of 1 to `longest` words in `text`, lower case, each with its first and one past its last character."""
    words = [(match.group().lower(), match.start(), match.end()) for match in WORD.finditer(text)]
    for first in range(len(words)):
        for last in range(first, min(first + longest, len(words))):
            yield " ".join(word for word, _, _ in words[first : last + 1]), words[first][1], words[last][2]


def mine(texts: Sequence[str], labels: Sequence[str], most: int, longest: int = 3, least: int = 2) -> list[Construct]:
    """The `most` most informative constructs of 1 to `longest` words that stand in at least `least` texts.

    Ties are broken by the number of texts, then alphabetically, so the same texts in any order give the same list.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text, label in zip(texts, labels, strict=True):
        for construct in {span for span, _, _ in spans(text, longest)}:
            counts[construct][label] += 1
    of_label = Counter(labels)
    entropy_terms = {label: _xlogx(n) for label, n in of_label.items()}
    total, all_terms = len(texts), math.fsum(entropy_terms.values())
    found = []
    for text, held in counts.items():
        n = held.total()
        if n < least:
            continue
        information = _information(held, n, total, of_label, entropy_terms, all_terms)
        weights = {label: held[label] * math.log(held[label] * total / (n * of_label[label])) / total for label in sorted(held)}
        label = max(weights, key=weights.__getitem__)
        found.append(Construct(text, label, round(information, 9), round(weights[label], 9), n))
    found.sort(key=lambda construct: (-construct.information, -construct.texts, construct.text))
    return found[:most]


def per_class(constructs: Sequence[Construct], most: int = 10) -> dict[str, list[str]]:
    """The `most` constructs that weigh most for each label that has any."""
    table: dict[str, list[str]] = defaultdict(list)
    for construct in sorted(constructs, key=lambda construct: -construct.weight):
        if len(table[construct.label]) < most:
            table[construct.label].append(construct.text)
    return dict(sorted(table.items()))


def marked(text: str, offsets: Sequence[tuple[int, int]], constructs: frozenset[str], longest: int) -> list[bool]:
    """For each token of `text` (its first and one past its last character; an empty span for special tokens), whether it
    belongs to a construct."""
    covered = bytearray(len(text))
    for construct, start, end in spans(text, longest):
        if construct in constructs:
            covered[start:end] = b"\1" * (end - start)
    return [start < end and any(covered[start:end]) for start, end in offsets]


def _information(
    held: Counter[str], n: int, total: int, of_label: Counter[str], entropy_terms: dict[str, float], all_terms: float
) -> float:
    # I(X;Y) = (sum of x log x over the cells - over the rows - over the columns + total log total) / total,
    # the cells being label counts with and without the construct; labels it never meets cancel.
    without = all_terms
    present = 0.0
    for label, k in held.items():
        present += _xlogx(k)
        without += _xlogx(of_label[label] - k) - entropy_terms[label]
    return max(0.0, (present + without - _xlogx(n) - _xlogx(total - n) - all_terms + _xlogx(total)) / total)


def _xlogx(n: int) -> float:
    return n * math.log(n) if n else 0.0
