"""Every step of the audit and of the baselines that takes long on large data shows its progress."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tokensieve import bars
from tokensieve.audit.duplicate_sets import copies_of
from tokensieve.audit.near_copies import near_copies
from tokensieve.audit.neighbours import find_neighbours
from tokensieve.audit.out_of_fold import out_of_fold
from tokensieve.data.examples import Examples
from tokensieve.evaluation.baselines import measure_baselines

TEXTS = [f"parcel {i} came late on day {i % 7} and was {'wet' if i % 2 else 'lost'}" for i in range(40)]
CLASSES = np.arange(40) % 2
STATES = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)


def baselines() -> None:
    train = Examples(TEXTS, [("wet",) if i % 2 else ("lost",) for i in range(40)])
    measure_baselines(train, TEXTS[:4], (CLASSES, CLASSES[:4]), CLASSES[:4] == 0)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (lambda: copies_of(TEXTS), ["looking for copies, 40 of 40 texts"]),
        (lambda: near_copies(TEXTS), ["looking for near-copies, 40 of 40 texts", "comparing near-copies"]),
        (lambda: find_neighbours(STATES, 0), ["comparing meanings, 1 of 1 trees"]),
        (lambda: out_of_fold(STATES, CLASSES, CLASSES % 2, 0), ["judging labels, 2 of 2 models"]),
        (
            baselines,
            [
                "baseline: counting words, 40 of 40 texts",
                "baseline: training, 0 of 40 texts",
                "baseline: predicting, 4 of 4 texts",
            ],
        ),
    ],
    ids=["copies", "near-copies", "meanings", "labels", "baselines"],
)
def test_a_long_step_shows_how_far_it_is(
    step: Callable[[], object], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = list[str]()
    close = bars.Bar.close

    def closed(bar: bars.Bar) -> None:
        if bar in bars.progress.open_bars:
            shown.append(bar.state())
        close(bar)

    monkeypatch.setattr(bars.Bar, "close", closed)
    step()
    assert [state for state in shown if state.startswith(tuple(expected))] == shown
    assert len(shown) == len(expected), shown
