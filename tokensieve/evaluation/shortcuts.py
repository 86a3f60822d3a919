"""Find shortcuts: phrases that most texts of a class share, and that the model takes for the class.

A signature or a form's own words may be such a phrase. The test texts have it, too, so the accuracy
does not show that the model knows the phrase instead of the class. Honest words such as "visa" are
in most texts of a class as well. Phrases of three words are not, unless they have a word of the
label. So shorter phrases and those with such a word are left out (figures: docs/experiment-log.md).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tokensieve.errors import excerpt
from tokensieve.evaluation.intervals import interval
from tokensieve.evaluation.metrics import Bools
from tokensieve.inference.words import construct_name, count_words, is_unspaced, ngrams, word_spans

LEAST_TEXTS = 8  # training texts of a class that have the phrase
# Share of the training texts of a class that have the phrase, the lower bound of this share, and
# the highest share of the other training texts.
SHARE, SURE_SHARE, ELSEWHERE = 0.6, 0.5, 0.02
LEAST_WORDS, MOST_WORDS = 3, 8  # of a phrase
LEAST_LETTERS = 3  # of a word of the label that a phrase may share
SAMPLE = 30  # training texts of a class in which phrases are looked for
TRIED = 40  # test texts of other classes that get the phrase
MOVED = 0.5  # share of them that it moves into the class if the model relies on it
MOST = 3  # phrases that are tried


@dataclass(frozen=True)
class SharedPhrase:
    """A phrase that most training texts of a class have, and few others.

    Attributes:
        text: The phrase as a text of the class has it.
        label: The class.
        texts: Number of training texts of the class with the phrase.
        size: Number of training texts of the class.
        elsewhere: Number of other training texts with the phrase.
    """

    text: str
    label: str
    texts: int
    size: int
    elsewhere: int


@dataclass(frozen=True)
class Shortcut:
    """A shared phrase on which the model relies.

    Attributes:
        phrase: The phrase.
        moved: Number of test texts that the model takes for the class once they begin with it.
        tried: Number of test texts of other classes that got the phrase.
    """

    phrase: SharedPhrase
    moved: int
    tried: int

    def __str__(self) -> str:
        own, label = self.phrase, excerpt(self.phrase.label, 40)
        others = f"{own.elsewhere:,} of the other classes" if own.elsewhere else "no other"
        return (
            f"texts of {label} without {excerpt(own.text, 60)}: this phrase is in {own.texts:,} of its "
            f"{own.size:,} training texts and in {others}, and put before {self.tried} test texts of other "
            f"classes it turns {self.moved} into {label}"
        )


def shared_phrases(texts: Sequence[str], labels: Sequence[tuple[str, ...]]) -> list[SharedPhrase]:
    """Return at most one phrase per class that most of its texts have and few others.

    Those in the largest share of their class are first. A phrase that has a word of the label is
    left out: the class is about it.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, names in enumerate(labels):
        for name in names:
            places[name].append(place)
    candidates = {}
    for label, own in places.items():
        if len(own) >= LEAST_TEXTS and (name := _frequent([texts[i] for i in own], label)):
            candidates[label] = name
    if not candidates:
        return []
    named = [f" {construct_name(text)} " for text in texts]
    found = []
    for label, name in candidates.items():
        with_it = {place for place, text in enumerate(named) if f" {name} " in text}
        inside = [place for place in places[label] if place in with_it]
        size, elsewhere = len(places[label]), len(with_it) - len(inside)
        is_usual = (
            len(inside) >= max(LEAST_TEXTS, SHARE * size) and interval(len(inside), size)[0] >= SURE_SHARE
        )
        if is_usual and elsewhere <= ELSEWHERE * (len(texts) - size):
            written = next(_written(name, texts[place]) for place in inside)
            found.append(SharedPhrase(written, label, len(inside), size, elsewhere))
    return sorted(found, key=lambda own: (-own.texts / own.size, own.label))


def find_shortcuts(
    phrases: Sequence[SharedPhrase],
    texts: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    gets: Callable[[Sequence[str], str], Bools],
) -> Iterator[Shortcut]:
    """Yield those of the first `MOST` phrases on which the model relies.

    The arguments are those of `try_phrase`.
    """
    for phrase in phrases[:MOST]:
        found = try_phrase(phrase, texts, labels, gets)
        if found.tried and found.moved >= MOVED * found.tried:
            yield found


def try_phrase(
    phrase: SharedPhrase,
    texts: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    gets: Callable[[Sequence[str], str], Bools],
) -> Shortcut:
    """Put a phrase before at most `TRIED` test texts of other classes.

    Args:
        phrase: The phrase.
        texts: The test texts.
        labels: The labels of each test text.
        gets: Returns which texts get a label from the model, bool [texts].
    """
    name = construct_name(phrase.text)
    others = [
        text
        for text, names in zip(texts, labels, strict=True)
        if phrase.label not in names and f" {name} " not in f" {construct_name(text)} "
    ]
    tried = others[:: max(1, -(-len(others) // TRIED))]
    if not tried:
        return Shortcut(phrase, 0, 0)
    before = gets(tried, phrase.label)
    after = gets([f"{phrase.text}. {text}" for text in tried], phrase.label)
    return Shortcut(phrase, int((after & ~before).sum()), len(tried))


def _frequent(texts: Sequence[str], label: str) -> str:
    """Return the longest of the phrases that most texts of a class have. Empty: there is none."""
    sample = texts[:: -(-len(texts) // SAMPLE)]
    for longest in (LEAST_WORDS, MOST_WORDS):  # long phrases only if there is a short one
        counts = Counter(name for text in sample for name in {name for name, _, _ in ngrams(text, longest)})
        usual = {
            name: count
            for name, count in counts.items()
            if count >= SURE_SHARE * len(sample) and count_words(name) >= LEAST_WORDS
        }
        usual = {name: count for name, count in usual.items() if not _is_about(name, label)}
        if not usual:
            return ""
    return min(usual, key=lambda name: (-usual[name], -count_words(name), name))


def _is_about(name: str, label: str) -> bool:
    """Return whether a phrase has a word of the label, also with another ending.

    A phrase without spaces counts as one: its words are characters.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", label).casefold().split()
    words = [name[start:end] for start, end in word_spans(name)]
    return is_unspaced(name) or any(
        min(len(word), len(own)) >= LEAST_LETTERS and (word.startswith(own) or own.startswith(word))
        for word in words
        for own in spaced
    )


def _written(name: str, text: str) -> str:
    return next((text[start:end] for own, start, end in ngrams(text, MOST_WORDS) if own == name), name)
