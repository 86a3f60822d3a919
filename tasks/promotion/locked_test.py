"""The texts on which champion and challenger are compared.

They are those of the present test part that neither was trained on.

A text's part follows from its hash, so most test texts of today were test texts when the champion
was trained. Settings, seeds and test files change, though, so each version keeps the hashes of the
texts that it was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.split import load_part
from tokensieve.data.examples import Examples
from tokensieve.data.text_hashes import NAME, are_among, load_hashes
from tokensieve.files import sha256
from tokensieve.project import Layout

PARTS = ("test", "oos")


@dataclass(frozen=True)
class LockedTest:
    """The texts on which two versions are compared.

    Attributes:
        test: Those with labels.
        oos: Those out of scope.
        trained: Texts of both parts that are left out, because a version was trained on them.
        unknown: The versions that keep no hashes, because an earlier version of this package
            exported them. They may have been trained on some of the texts.
    """

    test: Examples
    oos: Examples
    trained: int
    unknown: tuple[str, ...]


def locked_test(layout: Layout, folders: Mapping[str, Path]) -> LockedTest:
    """Return the texts of the present test part that no version was trained on.

    Args:
        layout: The project. Its stage split has run.
        folders: The exported folder of each version, by its number.

    Raises:
        InputError: If the hashes of a version are damaged.
    """
    hashes = {version: load_hashes(folder / NAME) for version, folder in folders.items()}
    known = [found for found in hashes.values() if found is not None]
    trained = np.concatenate([np.empty(0, np.uint64), *known])
    parts, left_out = [], 0
    for name in PARTS:
        part = load_part(layout, name)
        kept = np.flatnonzero(~are_among(part.texts, trained))
        left_out += len(part) - len(kept)
        parts.append(part.take(kept.tolist()))
    unknown = tuple(version for version, found in hashes.items() if found is None)
    return LockedTest(parts[0], parts[1], left_out, unknown)


def test_part_hash(layout: Layout) -> str:
    """Return the SHA-256 of the present test part and the texts out of scope.

    Empty: there is no test part here.
    """
    files = [layout.split / f"{name}.jsonl" for name in PARTS]
    if not files[0].exists():
        return ""
    whole = "\n".join(sha256(path) if path.exists() else "" for path in files)
    return hashlib.sha256(whole.encode()).hexdigest()
