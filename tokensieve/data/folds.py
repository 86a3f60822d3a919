"""Deal training texts into folds for cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokensieve.data.normalize import normalize_text


def assign_folds(
    texts: Sequence[str], labels: Sequence[tuple[str, ...]], folds: int, seed: int
) -> NDArray[np.int64]:
    """Return the fold of each text, int64 [texts]: 0 to `folds` - 1.

    Each class is spread evenly. Rows with the same normalized text are in one fold, so that no
    model is measured on a text that it was trained on.
    """
    group_of: dict[str, int] = {}
    groups = [group_of.setdefault(normalize_text(text), len(group_of)) for text in texts]
    label_of = dict(zip(reversed(groups), reversed(labels), strict=True))  # of the first row of a group
    random = np.random.default_rng(seed)
    order = sorted(random.permutation(len(group_of)).tolist(), key=label_of.__getitem__)
    fold_of = np.empty(len(group_of), dtype=np.int64)
    fold_of[order] = np.arange(len(group_of)) % folds
    return fold_of[groups]
