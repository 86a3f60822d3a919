from __future__ import annotations

from tasks.auditing.label_studio import label_studio_tasks


def test_a_suggestion_is_a_prediction_and_no_suggestion_is_none() -> None:
    cells = {"text": "lost card", "label": "a", "suggested_label": "b", "suggested_probability": "0.912"}
    judged, other = label_studio_tasks(
        [cells, cells | {"suggested_label": "", "suggested_probability": ""}], multi_label=False
    )
    assert judged["data"] == cells
    assert judged["predictions"][0]["score"] == 0.912
    assert judged["predictions"][0]["result"][0]["value"] == {"choices": ["b"]}
    assert other["predictions"] == []


def test_a_suggested_set_of_labels_is_a_choice_per_label() -> None:
    cells = {"text": "lost card", "suggested_label": "b|a", "suggested_probability": "0.9"}
    several, none = label_studio_tasks([cells, cells | {"suggested_label": "|"}], multi_label=True)
    assert several["predictions"][0]["result"][0]["value"] == {"choices": ["a", "b"]}
    assert none["predictions"][0]["result"][0]["value"] == {"choices": []}
    (whole,) = label_studio_tasks([cells], multi_label=False)
    assert whole["predictions"][0]["result"][0]["value"] == {"choices": ["b|a"]}
