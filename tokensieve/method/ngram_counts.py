"""Count in how many texts and labels each n-gram occurs, in bounded memory.

N-grams are counted one length after the other. An n-gram occurs in no more texts than its parts do,
so one with a part that is too rare is never counted (Apriori: Agrawal and Srikant 1994,
vldb.org/conf/1994/P487.PDF). Nothing is lost by this. Most n-grams of a large corpus occur in one
text only; those need no memory once their part of the texts is counted (`_likely`).

Words have numbers, so the texts take 6 bytes per word, and 4 bytes more per length of n-grams.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokensieve.inference.words import words_in_a_row

Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]

CHUNK = 2**20  # words that are counted together
BUCKET_BITS = 24
BUCKETS = 2**BUCKET_BITS
NONE = -1  # no n-gram of interest begins at this word


@dataclass(frozen=True)
class Corpus:
    """Texts as numbers of words.

    Attributes:
        names: The words in lower case, by number.
        words: The numbers of all words of all texts, int32 [words].
        glued: Whether nothing is between the word and the one before it, bool [words].
        opens: Whether the word is the first one of a line, bool [words].
        starts: The index of the first word of each text, and of the end, int64 [texts + 1].
    """

    names: list[str]
    words: Places
    glued: npt.NDArray[np.bool_]
    opens: npt.NDArray[np.bool_]
    starts: Ints

    @classmethod
    def of(cls, texts: Sequence[str]) -> Corpus:
        """Return the words of `texts`."""
        numbers: dict[str, int] = {}
        words, close, opens, starts = array("i"), bytearray(), bytearray(), array("q", [0])
        for text in texts:
            for line in text.split("\n"):
                found, glued = words_in_a_row(line)
                words.extend([numbers.setdefault(word, len(numbers)) for word in found])
                close.extend(glued)
                opens.extend((b"\1" + bytes(len(found)))[: len(found)])
            starts.append(len(words))
        return cls(
            list(numbers),
            np.frombuffer(words, np.int32) if words else np.empty(0, np.int32),
            np.frombuffer(close, np.bool_),
            np.frombuffer(opens, np.bool_),
            np.frombuffer(starts, np.int64),
        )

    def chunks(self) -> Iterator[tuple[slice, Ints]]:
        """Yield the places of the words of consecutive texts, and the text of each of them."""
        text, last = 0, len(self.starts) - 1
        while text < last:
            end = int(np.searchsorted(self.starts, self.starts[text] + CHUNK, "right")) - 1
            end = min(max(end, text + 1), last)
            lengths = np.diff(self.starts[text : end + 1])
            yield slice(self.starts[text], self.starts[end]), np.repeat(np.arange(text, end), lengths)
            text = end


@dataclass(frozen=True)
class Ngrams:
    """The n-grams of one length that occur in enough texts.

    Attributes:
        length: The number of words.
        texts: The number of texts with each n-gram, int64 [n-grams].
        at: The number of the n-gram that begins at each word, or NONE, int32 [words].
        keys: The n-gram without its last word, and this word, as one number, int64 [n-grams].
        shorter: The n-grams without their last words. None for words.
    """

    length: int
    texts: Ints
    at: Places
    keys: Ints
    shorter: Ngrams | None = None

    def name(self, number: int, corpus: Corpus) -> str:
        """Return an n-gram as `words.ngrams` names it."""
        if self.shorter is None:
            return corpus.names[self.keys[number]]
        before, last = divmod(int(self.keys[number]), 2 * len(corpus.names))
        space = "" if last % 2 else " "
        return self.shorter.name(before, corpus) + space + corpus.names[last // 2]


def frequent_words(corpus: Corpus, least: int) -> Ngrams:
    """Return the words that occur in at least `least` texts."""

    def keys(places: slice, texts: Ints) -> Ints:
        return corpus.words[places].astype(np.int64)

    return _frequent(corpus, keys, 1, least, None)


def frequent_longer(corpus: Corpus, shorter: Ngrams, least: int) -> Ngrams:
    """Return the n-grams with one word more than `shorter` that occur in at least `least` texts."""
    more, radix = shorter.length, 2 * len(corpus.names)
    frequent = np.append(shorter.texts >= least, False)  # the last one is that of NONE

    def keys(places: slice, texts: Ints) -> Ints:
        at = shorter.at[places]
        found = np.full(len(at), NONE, np.int64)
        if len(at) > more:
            whole = texts[:-more] == texts[more:]
            whole &= frequent[at[:-more]] & frequent[at[1 : len(at) - more + 1]]
            whole &= ~corpus.opens[places][more:]  # no n-gram crosses a line end
            last = 2 * corpus.words[places][more:].astype(np.int64) + corpus.glued[places][more:]
            found[:-more][whole] = (at[:-more] * np.int64(radix) + last)[whole]
        return found

    return _frequent(corpus, keys, more + 1, least, shorter)


@dataclass(frozen=True)
class LabelCounts:
    """How often each label occurs with each n-gram.

    Attributes:
        begins: Where the n-gram begins in the fields below, and the end, int64 [n-grams + 1].
        labels: The labels that occur with an n-gram, ascending, int64 [pairs].
        texts: The number of texts with both, int64 [pairs].
    """

    begins: Ints
    labels: Ints
    texts: Ints

    def of(self, number: int) -> dict[int, int]:
        """Return the number of texts with an n-gram by label."""
        own = slice(self.begins[number], self.begins[number + 1])
        return dict(zip(self.labels[own].tolist(), self.texts[own].tolist(), strict=True))


def count_labels(corpus: Corpus, ngrams: Ngrams, labels: Sequence[Sequence[int]]) -> LabelCounts:
    """Return the counts of `labels`, which are the numbers of the labels of each text."""
    sizes = np.fromiter(map(len, labels), np.int64, len(labels))
    firsts, flat = sizes.cumsum() - sizes, np.fromiter((n for own in labels for n in own), np.int64)
    classes = int(flat.max(initial=0)) + 1
    tally = _Tally()
    for places, texts in corpus.chunks():
        numbers, holding = _once_per_text(ngrams.at[places].astype(np.int64), texts)
        repeats = sizes[holding]
        within = np.arange(repeats.sum()) - np.repeat(repeats.cumsum() - repeats, repeats)
        own = flat[np.repeat(firsts[holding], repeats) + within]
        tally.add(np.repeat(numbers, repeats) * classes + own)
    keys, counts = tally.total()
    numbers, own = np.divmod(keys, classes)
    return LabelCounts(np.searchsorted(numbers, np.arange(len(ngrams.texts) + 1)), own, counts)


Keys = Callable[[slice, Ints], Ints]
"""A function that returns the key of the n-gram at each word, or NONE.

Its arguments are the places of the words of a chunk, and the text of each word.
"""


def _frequent(corpus: Corpus, keys: Keys, length: int, least: int, shorter: Ngrams | None) -> Ngrams:
    """Return the n-grams of `length` words whose keys occur in at least `least` texts."""
    likely = _likely(corpus, keys, least) if shorter and len(corpus.words) > CHUNK else None
    tally = _Tally()
    for places, texts in corpus.chunks():
        found, _ = _once_per_text(keys(places, texts), texts)
        tally.add(found if likely is None else found[likely[_bucket(found)]])
    found, counts = tally.total()
    found, counts = found[counts >= least], counts[counts >= least]
    at = np.full(len(corpus.words), NONE, np.int32)
    for places, texts in corpus.chunks():
        own = keys(places, texts)
        numbers = np.searchsorted(found, own)
        known = numbers < len(found)
        known[known] = found[numbers[known]] == own[known]
        at[places][known] = numbers[known]
    return Ngrams(length, counts, at, found, shorter)


def _likely(corpus: Corpus, keys: Keys, least: int) -> npt.NDArray[np.bool_]:
    """Return for each bucket of keys whether one of its keys may occur in `least` texts.

    It is certain that no other bucket has such a key (Park, Chen and Yu 1995, doi
    10.1145/223784.223813). This needs 64 MiB, however many different n-grams there are.
    """
    buckets = np.zeros(BUCKETS, np.int32)
    for places, texts in corpus.chunks():
        found, _ = _once_per_text(keys(places, texts), texts)
        np.add.at(buckets, _bucket(found), 1)
    return buckets >= least


def _bucket(keys: Ints) -> Ints:
    """Return the bucket of each key: the highest bits of its product with a large odd number."""
    mixed = (keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - BUCKET_BITS)
    return mixed.astype(np.int64)


def _once_per_text(keys: Ints, texts: Ints) -> tuple[Ints, Ints]:
    """Return the keys without NONE and without repetitions in a text, sorted, with their texts."""
    present = keys != NONE
    keys, texts = keys[present], texts[present]
    order = np.argsort(keys, kind="stable")  # so the texts of each key stay in ascending order
    keys, texts = keys[order], texts[order]
    first = np.ones(len(keys), np.bool_)
    first[1:] = (keys[1:] != keys[:-1]) | (texts[1:] != texts[:-1])
    return keys[first], texts[first]


class _Tally:
    """Counts keys, 16 bytes per different key."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints]] = []

    def add(self, keys: Ints) -> None:
        """Count each of `keys` once more."""
        self._parts.append(np.unique(keys, return_counts=True))
        # Parts are merged when they are about as large, so a key is copied a few times only.
        while len(self._parts) > 1 and len(self._parts[-2][0]) < 2 * len(self._parts[-1][0]):
            self._parts.append(self._merge(self._parts.pop(), self._parts.pop()))

    def total(self) -> tuple[Ints, Ints]:
        """Return the keys in ascending order, and their counts."""
        while len(self._parts) > 1:
            self._parts.append(self._merge(self._parts.pop(), self._parts.pop()))
        return self._parts[0] if self._parts else (np.empty(0, np.int64), np.empty(0, np.int64))

    @staticmethod
    def _merge(one: tuple[Ints, Ints], other: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
        keys, counts = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
        if not len(keys):
            return keys, counts
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        return keys[begins], np.add.reduceat(counts[order], begins)
