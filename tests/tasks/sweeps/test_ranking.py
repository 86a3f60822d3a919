from __future__ import annotations

import pytest

from tasks.sweeps.ranking import check_metric, rank
from tokensieve.errors import InputError


def cells(*accuracies: float) -> list[dict[str, object]]:
    return [
        {"figures": {"accuracy": value, "macro_f1": 1 - value}, "seconds": 2.0 + i}
        for i, value in enumerate(accuracies)
    ]


def test_combinations_are_ranked_and_compared_with_the_best_on_the_same_texts() -> None:
    results = {
        ("a=1",): cells(0.70, 0.80, 0.90, 0.80),
        ("a=2",): cells(0.80, 0.90, 1.00, 0.89),
        ("a=3",): cells(0.95, 0.74, 1.00, 0.88),
    }
    best, close, worse = rank(results, "accuracy", folds=4)
    assert (best.changes, close.changes, worse.changes) == (("a=2",), ("a=3",), ("a=1",))
    assert best.behind is None
    # 0.1 behind on each fold: the folds' own spread does not count.
    assert worse.behind is not None and worse.behind.mean == pytest.approx(0.0975)
    assert (best.is_worse, close.is_worse, worse.is_worse) == (False, False, True)
    assert worse.seconds == 3.5
    assert rank(results, "macro_f1", folds=4)[0].changes == ("a=1",)


def test_the_interval_of_a_share_ends_at_0_and_1() -> None:
    (row,) = rank({(): cells(1.0, 0.7)}, "accuracy", folds=2)
    assert (row.figures["accuracy"].low, row.figures["accuracy"].high) == (0.0, 1.0)


def test_a_figure_that_a_cell_lacks_is_left_out() -> None:
    (row,) = rank({(): [*cells(0.5), {"figures": {"accuracy": 0.6}, "seconds": 1.0}]}, "accuracy", 2)
    assert row.figures.keys() == {"accuracy"}


def test_the_figure_is_one_that_the_data_have() -> None:
    assert (check_metric(None, False), check_metric(None, True)) == ("accuracy", "micro_f1")
    assert check_metric("macro_f1", True) == "macro_f1"
    with pytest.raises(
        InputError, match="--metric is accuracy; for these data use one of micro_f1, macro_f1"
    ):
        check_metric("accuracy", True)
