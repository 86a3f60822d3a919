from __future__ import annotations

import numpy as np
import pytest

from tokensieve.data.token_lengths import length_distribution


def test_quantiles_and_histogram_of_lengths() -> None:
    lengths = [*range(1, 101)]
    found = length_distribution(lengths)
    expected = [float(np.quantile(lengths, share)) for share in (0.5, 0.9, 0.99)]
    assert [found[name] for name in ("median", "p90", "p99")] == pytest.approx(expected, abs=1)
    assert found["longest"] == 100
    assert found["histogram"] == [(1, 1), (2, 1), (4, 2), (8, 4), (16, 8), (32, 16), (64, 32), (128, 36)]


def test_no_texts() -> None:
    assert length_distribution([])["histogram"] == []
