"""Hashes of texts: which texts a model was trained on, without the texts themselves.

The file is in the exported folder, so it is known for every registered version. Whoever has it can
test whether a guessed text was among them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokensieve.data.normalize import copy_key, normalize_text
from tokensieve.errors import InputError

NAME = "trained_texts.npy"  # in the folder of an exported model
Hashes = NDArray[np.uint64]


def hash_texts(texts: Iterable[str]) -> Hashes:
    """Return a hash of each text, uint64 [texts], in their order.

    Copies of a text (`copy_key`) have the same hash. Of a million texts, two share a hash by chance
    with a probability of 3e-8.
    """
    return _hashes(map(copy_key, texts))


def are_among(texts: Sequence[str], hashes: Hashes) -> NDArray[np.bool_]:
    """Return for each text whether the `hashes` of some texts have a copy of it, bool [texts].

    Earlier versions hashed texts by `normalize_text`. Of a text in their files, those copies are
    found that are equal to it but for case, and the one that `copy_key` itself returns.
    """
    return np.isin(hash_texts(texts), hashes) | np.isin(_hashes(map(normalize_text, texts)), hashes)


def _hashes(keys: Iterable[str]) -> Hashes:
    digests = (hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest() for key in keys)
    return np.array([int.from_bytes(digest[:8]) for digest in digests], np.uint64)


def save_hashes(path: Path, texts: Iterable[str]) -> None:
    """Write the distinct hashes of texts, 8 bytes each, in ascending order."""
    with path.open("wb") as file:
        np.save(file, np.unique(hash_texts(texts)), allow_pickle=False)


def load_hashes(path: Path) -> Hashes | None:
    """Return the hashes that `save_hashes` wrote, uint64 [texts]. None if there is no such file.

    Raises:
        InputError: If it is damaged.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); export the model again") from None
    if not isinstance(found, np.ndarray) or found.dtype != np.uint64 or found.ndim != 1:
        raise InputError(f"{path} has no hashes of texts; export the model again")
    return found
