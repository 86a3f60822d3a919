from __future__ import annotations

from tasks.auditing.label_studio import label_studio_tasks


def test_a_suggestion_is_a_prediction_and_no_suggestion_is_none() -> None:
    cells = {"text": "lost card", "label": "a", "suggested_label": "b", "suggested_probability": "0.912"}
    judged, other = label_studio_tasks([cells, cells | {"suggested_label": "", "suggested_probability": ""}])
    assert judged["data"] == cells
    assert judged["predictions"][0]["score"] == 0.912
    assert judged["predictions"][0]["result"][0]["value"] == {"choices": ["b"]}
    assert other["predictions"] == []
