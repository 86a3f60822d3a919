"""Find texts that are written almost the same, without comparing all pairs of texts.

Each text is a set of shingles, its sequences of 3 characters. Two texts are near-copies if their
Jaccard similarity is at least 0.75: shared shingles, divided by all shingles of both. MinHash
(Broder 1997) finds the candidates: for a random order of all shingles, the first shingle of two
texts is the same with a probability equal to their similarity. Texts are compared if a band of
`ROWS` such first shingles is the same in one of `BANDS` bands. A pair with similarity 0.75 is found
with a probability of 0.98, a pair with 0.9 always. The similarity of candidates is then exact.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from tokensieve.bars import Bar
from tokensieve.data.normalize import without_invisible
from tokensieve.inference.words import marks

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]
Pairs = tuple[Ints, Floats]
"""Pairs of indices, int64 [pairs, 2], the lower index first, and their similarity [pairs]."""

SHINGLE = 3  # characters
BANDS, ROWS = 20, 6
SIMILAR = 0.75  # Jaccard similarity of near-copies
SHINGLES_PER_CHUNK = 2**16
SEED = 1

_PRIMES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


def comparable(text: str) -> str:
    """Return `text` for a comparison: its words in lower case, with one space between them.

    Compatible characters, such as full-width letters, are the same (NFKC), and punctuation and
    invisible characters are left out. A text without words is only stripped.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    visible = without_invisible(folded)
    return _not_words().sub(" ", visible).strip() or visible.strip()


@cache
def _not_words() -> re.Pattern[str]:
    return re.compile(rf"(?:[^\w{marks()}]|_)+")


def near_copies(texts: Sequence[str]) -> Pairs:
    """Return the pairs of near-copies among `texts`, which `comparable` has returned.

    Equal texts are not expected: with many of them, pass each text once. Memory grows by 160 bytes
    per text.
    """
    candidates = _candidates(_band_keys(texts))
    similarity = np.empty(len(candidates), np.float32)
    first, own = -1, _shingles("")
    for i, (left, right) in enumerate(Bar(candidates.tolist(), "comparing near-copies", "pair")):
        if left != first:  # candidates are sorted
            first, own = left, np.unique(_shingles(texts[left]))
        other = np.unique(_shingles(texts[right]))
        shared = len(np.intersect1d(own, other, assume_unique=True))
        similarity[i] = shared / (len(own) + len(other) - shared)
    alike = similarity >= SIMILAR
    return candidates[alike], similarity[alike]


def _shingles(text: str) -> Hashes:
    """Return a hash of each shingle, uint64 [shingles]; a short text is one shingle."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    places = max(1, len(points) - SHINGLE + 1)
    mixed = np.zeros(places, np.uint64)
    for offset in range(min(SHINGLE, len(points))):
        mixed = (mixed ^ points[offset : offset + places]) * _PRIMES[0]
        mixed ^= mixed >> np.uint64(29)
    return mixed * _PRIMES[1]


def _band_keys(texts: Sequence[str]) -> Hashes:
    """Return a key of each text per band, uint64 [texts, bands]."""
    random = np.random.default_rng(SEED)
    factors = random.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.empty((len(texts), BANDS), np.uint64)
    with Bar(name="looking for near-copies", unit="text", total=len(texts)) as bar:
        for begin, shingles, starts in _chunks(texts):
            for band in range(BANDS):
                key = np.full(len(starts), band, np.uint64)
                for factor in factors[band * ROWS : (band + 1) * ROWS]:
                    # The high bits of a product with a random odd number are a random order.
                    least = np.minimum.reduceat((shingles * factor) >> np.uint64(16), starts)
                    key = (key ^ least) * _PRIMES[0]
                    key ^= key >> np.uint64(31)
                keys[begin : begin + len(starts), band] = key
            bar.update(len(starts))
    return keys


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, Hashes, Ints]]:
    """Yield the shingles of consecutive texts.

    With them come the index of the first text, and where the shingles of each text start.
    """
    begin, parts, size = 0, list[Hashes](), 0
    for i, text in enumerate(texts):
        parts.append(_shingles(text))
        size += len(parts[-1])
        if size >= SHINGLES_PER_CHUNK or i == len(texts) - 1:
            lengths = [len(part) for part in parts]
            yield begin, np.concatenate(parts), np.cumsum([0, *lengths[:-1]])
            begin, parts, size = i + 1, [], 0


def _candidates(keys: Hashes) -> Ints:
    """Return the pairs to compare, sorted, int64 [pairs, 2].

    In a group of texts with the same key, each text is compared with the first and with the one
    before it, not with all.
    """
    found = []
    for column in keys.T:
        order = np.argsort(column, kind="stable")
        same = np.flatnonzero(column[order[1:]] == column[order[:-1]]) + 1
        if not len(same):
            continue
        begins = np.ones(len(order), dtype=bool)
        begins[same] = False
        first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        found += [np.stack([order[before], order[same]], 1) for before in (first[same], same - 1)]
    if not found:
        return np.empty((0, 2), np.int64)
    return np.unique(np.sort(np.concatenate(found), 1), axis=0)
