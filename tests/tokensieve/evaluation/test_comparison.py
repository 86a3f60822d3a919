from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score

from tokensieve.evaluation import comparison, metrics
from tokensieve.evaluation.comparison import (
    ACCURACY,
    EXACT_MATCH,
    MACRO_F1,
    MICRO_F1,
    Difference,
    Pair,
    Verdict,
    calibration_difference,
    differences,
    fallen_classes,
    holm,
)

MARGIN, FLOOR = 0.01, 0.5


def pair(texts: int, labels: int, lost: int, won: int, seed: int = 0) -> Pair:
    """Two models that are right on all texts but `lost` and `won`: there only one of them is."""
    targets = np.random.default_rng(seed).integers(0, labels, texts)
    champion, challenger = targets.copy(), targets.copy()
    challenger[:lost] = (targets[:lost] + 1) % labels
    champion[lost : lost + won] = (targets[lost : lost + won] + 1) % labels
    return Pair(targets, champion, challenger)


def drawn(seed: int, texts: int, labels: int, multi_label: bool = False) -> Pair:
    """Answers that are right at random."""
    random = np.random.default_rng(seed)
    if multi_label:
        rows = [random.random((texts, labels)) < 0.3 for _ in range(3)]
        keep = random.random((2, texts, labels)) < 0.8
        return Pair(rows[0], np.where(keep[0], rows[0], rows[1]), np.where(keep[1], rows[0], rows[2]))
    targets, *others = random.integers(0, labels, (3, texts))
    keep = random.random((2, texts)) < 0.8
    return Pair(targets, np.where(keep[0], targets, others[0]), np.where(keep[1], targets, others[1]))


def refused(both: Pair) -> bool:
    found = differences(both)
    return any(one.verdict(MARGIN) == Verdict.WORSE for one in found.values()) or bool(
        fallen_classes(both, MARGIN, FLOOR)
    )


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 80), st.integers(2, 9))
def test_the_figures_are_those_of_the_report(seed: int, texts: int, labels: int) -> None:
    single = drawn(seed, texts, labels)
    found = differences(single)
    for answers, figures in (
        (single.champion, [one.champion for one in found.values()]),
        (single.challenger, [one.challenger for one in found.values()]),
    ):
        assert figures == pytest.approx(
            [accuracy_score(single.targets, answers), metrics.macro_f1(single.targets, answers)]
        )
    assert list(found) == [ACCURACY, MACRO_F1]
    many = drawn(seed, texts, labels, multi_label=True)
    targets, found = many.targets.astype(float), differences(many)
    assert [one.challenger for one in found.values()] == pytest.approx(
        [
            accuracy_score(many.targets, many.challenger),
            metrics.micro_f1(targets, many.challenger),
            metrics.macro_f1(targets, many.challenger),
        ]
    )
    assert list(found) == [EXACT_MATCH, MICRO_F1, MACRO_F1]


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 80), st.booleans())
def test_equal_models_are_never_refused(seed: int, texts: int, multi_label: bool) -> None:
    other = drawn(seed, texts, 5, multi_label)
    same = Pair(other.targets, other.champion, other.champion)
    assert {(one.low, one.high) for one in differences(same).values()} == {(0.0, 0.0)}
    assert {one.verdict(0.0) for one in differences(same).values()} == {Verdict.SAME}
    assert fallen_classes(same, 0.0, 0.0) == []


@settings(max_examples=20)
@given(st.integers(0, 1000), st.booleans())
def test_a_swap_of_the_models_turns_the_interval_around(seed: int, multi_label: bool) -> None:
    both = drawn(seed, 200, 5, multi_label)
    back = Pair(both.targets, both.challenger, both.champion)
    for one, other in zip(differences(both).values(), differences(back).values(), strict=True):
        assert one.value == pytest.approx(-other.value)
        # The draws differ, so the ends do: by at most 0.015 over all of these seeds.
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.02)


def test_the_interval_is_that_of_agresti_and_min() -> None:
    lost, won, texts = 60, 40, 2000
    found = differences(pair(texts, 5, lost, won))[ACCURACY]
    share = (won - lost) / (texts + 2)
    error = math.sqrt((lost + won + 2) / (texts + 2) - share**2) / math.sqrt(texts + 2)
    assert (found.low, found.high) == pytest.approx((share - 1.96 * error, share + 1.96 * error), abs=0.001)


def test_a_comparison_gives_the_same_twice() -> None:
    both = drawn(3, 300, 7)
    assert differences(both) == differences(both)
    assert differences(both) != differences(both, seed=1)


@pytest.mark.parametrize("lost", range(1, 12))
def test_lost_answers_alone_are_significant_as_in_the_exact_test(lost: int) -> None:
    is_worse = differences(pair(60, 3, lost, 0))[ACCURACY].verdict(MARGIN) == Verdict.WORSE
    chance = binomtest(lost, lost, alternative="greater").pvalue
    assert is_worse == (chance < 0.025)


def test_the_four_verdicts() -> None:
    assert differences(pair(1000, 5, 10, 40))[ACCURACY].verdict(MARGIN) == Verdict.BETTER
    assert differences(pair(1000, 5, 20, 22))[ACCURACY].verdict(MARGIN) == Verdict.SAME
    assert differences(pair(1000, 5, 25, 15))[ACCURACY].verdict(MARGIN) == Verdict.NOISE
    assert differences(pair(1000, 5, 40, 10))[ACCURACY].verdict(MARGIN) == Verdict.WORSE
    # All 100,000 texts prove a loss, but one that is below the margin.
    small = Difference(0.9, 0.897, -0.004, -0.002)
    assert (small.verdict(MARGIN), small.verdict(0.001)) == (Verdict.SAME, Verdict.WORSE)
    # On few texts a better model may be a worse one.
    assert Difference(0.8, 0.9, -0.1, 0.3).verdict(MARGIN) == Verdict.SAME


def test_a_class_that_falls_is_found_among_many() -> None:
    targets = np.repeat(np.arange(100), 30)
    champion, challenger = targets.copy(), targets.copy()
    challenger[:20] = 99  # of class 0
    champion[30:33] = challenger[60:65] = 50  # classes 1 and 2: chance
    (found,) = fallen_classes(Pair(targets, champion, challenger), MARGIN, FLOOR)
    assert (found.label, found.texts, found.lost, found.won) == (0, 30, 20, 0)
    assert found.share == pytest.approx(2 / 3)
    assert found.p_value == pytest.approx(binomtest(20, 20, alternative="greater").pvalue)


def test_a_small_class_that_vanishes_is_found_by_the_floor() -> None:
    targets = np.repeat(np.arange(150), 8)
    challenger = np.where(targets == 7, 8, targets)
    both = Pair(targets, targets, challenger)
    assert [found.label for found in fallen_classes(both, MARGIN, FLOOR)] == [7]
    assert fallen_classes(both, MARGIN, 1.1) == []
    assert fallen_classes(Pair(targets, challenger, targets), MARGIN, FLOOR) == []


def test_a_significant_fall_below_the_margin_is_no_fall() -> None:
    targets = np.zeros(10_000, np.int64)
    targets[:10] = 1
    challenger = targets.copy()
    challenger[20:60] = 1
    assert fallen_classes(Pair(targets, targets, challenger), 0.01, FLOOR) == []
    assert [found.label for found in fallen_classes(Pair(targets, targets, challenger), 0.001, FLOOR)] == [0]


def test_a_label_that_is_given_too_often_has_fallen() -> None:
    targets = np.zeros((60, 3), bool)
    targets[:20, 0] = True
    challenger = targets.copy()
    challenger[20:50, 1] = True
    (found,) = fallen_classes(Pair(targets, targets, challenger), MARGIN, FLOOR)
    assert (found.label, found.texts, found.lost, found.share) == (1, 30, 30, 1.0)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_corrects_step_by_step(values: list[float]) -> None:
    corrected = holm(values)
    assert (corrected >= np.asarray(values) - 1e-12).all() and (corrected <= 1).all()
    # The definition: the ordered values, each rejected only if all smaller ones are.
    order = sorted(range(len(values)), key=lambda place: values[place])
    for level in (0.01, 0.05, 0.5):
        rejected = set()
        for rank, place in enumerate(order):
            if values[place] * (len(values) - rank) > level:
                break
            rejected.add(place)
        assert {place for place in range(len(values)) if corrected[place] <= level} == rejected


def test_the_calibration_errors_are_those_of_the_report() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 4, 400)
    champion = random.normal(size=(400, 4)) + 4 * np.eye(4)[targets]
    challenger = champion * 4
    gaps = [metrics.gaps(logits, targets) for logits in (champion, challenger)]
    found = calibration_difference(*gaps, size=targets.size)
    expected = [
        metrics.calibration_error(metrics.reliability(logits, targets)) for logits in (champion, challenger)
    ]
    assert [found.champion, found.challenger] == pytest.approx(expected)
    assert found.low <= found.value <= found.high
    same = calibration_difference(gaps[0], gaps[0], size=targets.size)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("labels", [2, 64, 150])
def test_equally_good_models_pass_nineteen_times_in_twenty(
    labels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "DRAWS", 500)
    wrong = sum(refused(drawn(seed, 5 * labels + 200, labels)) for seed in range(100))
    assert wrong <= 10  # 5 are expected at most; 11 have a chance of 1%
    worse = pair(1000, labels, 60, 10)
    assert refused(worse)
