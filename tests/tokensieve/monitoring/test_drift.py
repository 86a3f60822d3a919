"""Drift between two samples of observations."""

from __future__ import annotations

import numpy as np

from tokensieve.monitoring.drift import FLOORS, MOST_TEXTS, find_drift, is_alarm
from tokensieve.monitoring.observations import Observations


def observations(texts: int, seed: int, shift: float = 0.0, uncertain: float = 0.1) -> Observations:
    generator = np.random.default_rng(seed)
    return Observations(
        states=(generator.normal(size=(texts, 6)) + shift).astype(np.float32),
        labels=generator.integers(0, 4, texts),
        confidence=generator.uniform(0.5, 1.0, texts),
        uncertain=generator.uniform(size=texts) < uncertain,
        tokens=generator.integers(5, 30, texts).astype(np.float64),
        fragmented=generator.uniform(0, 0.3, texts),
        classes=4,
    )


def test_samples_of_one_distribution_do_not_differ() -> None:
    found = find_drift(observations(300, 0), observations(100, 1))
    assert not found.differs
    assert [test.name for test in found.tests] == list(FLOORS)
    assert (found.reference_texts, found.texts) == (300, 100)


def test_shifted_states_are_found_by_the_domain_classifier_alone() -> None:
    found = find_drift(observations(300, 0), observations(100, 1, shift=0.8))
    assert [test.name for test in found.tests if test.differs] == ["domain"]
    assert found.discrepancy.p <= 0.01


def test_more_uncertain_predictions_are_found() -> None:
    found = find_drift(observations(300, 0), observations(100, 1, uncertain=0.5))
    assert [test.name for test in found.tests if test.differs] == ["uncertain"]


def test_a_significant_but_small_difference_does_not_count() -> None:
    reference, window = observations(1000, 0, uncertain=0.001), observations(1000, 1, uncertain=0.02)
    test = next(test for test in find_drift(reference, window).tests if test.name == "uncertain")
    assert test.p <= 0.01
    assert not test.differs


def test_of_large_samples_texts_are_drawn_with_the_seed() -> None:
    reference, window = observations(MOST_TEXTS + 50, 0), observations(MOST_TEXTS + 1, 1)
    found = find_drift(reference, window, 3)
    assert (found.reference_texts, found.texts) == (MOST_TEXTS, MOST_TEXTS)
    assert len(found.rows) == len(found.scores) == MOST_TEXTS
    assert found == find_drift(reference, window, 3)


def test_the_scores_are_of_the_windows_texts_in_their_order() -> None:
    window = observations(100, 1)
    window.states[40:60] += 3
    found = find_drift(observations(300, 0), window)
    assert {found.rows[place] for place in np.argsort(found.scores)[-20:]} == set(range(40, 60))


def test_the_expected_accuracy_is_the_mean_confidence_with_its_interval() -> None:
    window = observations(100, 1)
    mean, low, high = find_drift(observations(300, 0), window).expected_accuracy
    assert mean == window.confidence.mean()
    assert low < mean < high


def test_an_alarm_needs_two_windows_in_a_row() -> None:
    assert not is_alarm([])
    assert not is_alarm([True])
    assert not is_alarm([True, False])
    assert not is_alarm([True, False, True])
    assert is_alarm([False, True, True])
