from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from tokensieve.evaluation.intervals import interval, lower_bound, mcnemar_p_value, texts_needed


@given(st.integers(1, 400), st.data())
def test_the_interval_is_scipys_exact_one(texts: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, texts))
    expected = binomtest(hits, texts).proportion_ci(0.95, "exact")
    assert interval(hits, texts) == pytest.approx((expected.low, expected.high))
    one_sided = binomtest(hits, texts, alternative="greater").proportion_ci(0.95, "exact").low
    assert lower_bound(hits, texts) == pytest.approx(one_sided)


def test_a_lower_bound_is_wrong_at_most_one_time_in_twenty() -> None:
    for texts, share in [(50, 0.97), (300, 0.99), (3000, 0.999)]:
        wrong = sum(
            float(binom.pmf(hits, texts, share))
            for hits in range(texts + 1)
            if lower_bound(hits, texts) > share
        )
        assert wrong <= 0.05


def test_without_texts_the_interval_is_0_to_1() -> None:
    assert lower_bound(0, 0) == 0.0
    assert interval(0, 0) == (0.0, 1.0)
    assert mcnemar_p_value(0, 0) == 1.0


def test_differences_are_tossed_like_coins() -> None:
    assert mcnemar_p_value(5, 0) == pytest.approx(1 / 32)
    assert mcnemar_p_value(12, 4) == pytest.approx(binomtest(12, 16, alternative="greater").pvalue)
    assert mcnemar_p_value(5, 0) < 0.05 < mcnemar_p_value(4, 0)
    assert mcnemar_p_value(30, 25) > 0.05


@pytest.mark.parametrize(("share", "texts"), [(0.9, 29), (0.99, 299), (0.999, 2995), (0.0, 0)])
def test_so_many_texts_can_prove_a_share(share: float, texts: int) -> None:
    assert texts_needed(share) == texts
    if texts:
        assert lower_bound(texts, texts) >= share > lower_bound(texts - 1, texts - 1)
