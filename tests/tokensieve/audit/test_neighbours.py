"""Nearest neighbours: exact for few texts, nearly so for many."""

from __future__ import annotations

import numpy as np
import pytest

from tokensieve.audit.neighbours import LEAF, find_neighbours, unit_length


def states(texts: int, seed: int = 0) -> np.ndarray:
    """States in clusters of about four."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, texts // 4), 24))
    return unit_length(centres[np.arange(texts) % len(centres)] + 0.1 * random.normal(size=(texts, 24)))


def test_neighbours_of_few_texts_are_exact() -> None:
    some = states(100)
    cosines = some @ some.T
    np.fill_diagonal(cosines, -np.inf)
    found = find_neighbours(some, 0)
    assert (found.indices == np.argsort(-cosines, axis=1)[:, :8]).all()
    assert found.cosines[:, 0] == pytest.approx(cosines.max(1))


def test_neighbours_of_many_texts_are_found_by_several_trees() -> None:
    some = states(4 * LEAF)
    cosines = some @ some.T
    np.fill_diagonal(cosines, -np.inf)
    found = find_neighbours(some, 0)
    expected = {tuple(sorted(pair)) for pair in np.argwhere(cosines >= 0.95).tolist()}
    pairs = set(map(tuple, found.pairs(0.95)[0].tolist()))
    assert pairs <= expected
    assert len(pairs) > 0.97 * len(expected)
    assert all(len(set(row)) == len(row) for row in found.indices.tolist())


def test_equal_states_end_the_trees() -> None:
    found = find_neighbours(np.tile(unit_length(np.ones((1, 4), np.float32)), (3 * LEAF, 1)), 0)
    assert found.cosines == pytest.approx(1.0)
    assert len(found.outliers()[0]) == 0


@pytest.mark.parametrize("texts", [0, 1, 2, 3])
def test_few_texts_have_few_neighbours(texts: int) -> None:
    found = find_neighbours(states(texts)[:texts], 0)
    assert found.indices.shape == (texts, max(0, texts - 1))
    assert len(found.pairs(2.0)[0]) == len(found.outliers()[0]) == 0


def test_two_texts_of_a_kind_are_outliers_together() -> None:
    random = np.random.default_rng(0)
    some = np.eye(1, 24) + 0.05 * random.normal(size=(300, 24))
    some[[7, 8]] = -np.eye(1, 24) + 0.01 * random.normal(size=(2, 24))
    outliers, cosines = find_neighbours(unit_length(some), 0).outliers()
    assert set(outliers.tolist()) == {7, 8}
    assert (cosines < 0).all()
