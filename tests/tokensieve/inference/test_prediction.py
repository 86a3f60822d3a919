from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tokensieve.errors import InputError
from tokensieve.inference.prediction import Prediction, predictions

SINGLE = Prediction((("card", 0.75),), True, False, (("card", 0.75), ("cash", 0.25)))
MULTI = Prediction((("a", 0.9), ("b", 0.8)), False, True, (("a", 0.9),), multi_label=True)


def test_a_single_label_prediction_has_a_label_and_a_probability() -> None:
    assert (SINGLE.label, SINGLE.probability) == ("card", 0.75)
    assert SINGLE.columns() == {"label": "card", "probability": 0.75, "uncertain": True, "truncated": False}


def test_a_multi_label_prediction_has_lists_of_labels_and_probabilities() -> None:
    assert MULTI.columns() == {
        "labels": ["a", "b"],
        "probabilities": [0.9, 0.8],
        "uncertain": False,
        "truncated": True,
    }
    for name in ("label", "probability"):
        with pytest.raises(ValueError, match="multi-label"):
            getattr(MULTI, name)


def test_the_most_likely_labels_come_first_and_ties_keep_the_order_of_the_labels(served: Any) -> None:
    (found,) = predictions(np.float32([[1, 3, 1, 2]]), served.manifest, [False], [False], 4)
    labels = served.manifest.labels
    assert [label for label, _ in found.top] == [labels[1], labels[3], labels[0], labels[2]]
    assert found.labels == found.top[:1]


def test_top_below_one_is_refused(served: Any) -> None:
    with pytest.raises(InputError, match="top is 0; allowed: at least 1"):
        predictions(np.zeros((1, 4), np.float32), served.manifest, [False], [False], 0)


def test_the_prediction_for_a_blank_text_is_uncertain(served: Any) -> None:
    sure = np.float32([[50, 0, 0, 0]] * 2)
    found = predictions(sure, served.manifest, [False, False], [False, True], 1)
    assert [prediction.uncertain for prediction in found] == [False, True]
    assert found[0].labels == found[1].labels
