from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tokensieve.data.raw_data import read_examples
from tokensieve.server import feedback
from tokensieve.server.config import Limits
from tokensieve.server.feedback import PER_MINUTE, FeedbackLog

RIGHT = {"text": "<script>alert(1)</script>", "label": "größe", "predicted": "transfer", "version": "7"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "right.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[FeedbackLog]:
    opened = FeedbackLog(path, 1000)
    yield opened
    opened.close()


def test_a_correction_is_stored_and_can_be_trained_on(
    client_of: Callable[..., Any], served: Any, path: Path, log: FeedbackLog
) -> None:
    client = client_of(served.folder, feedback=log)
    answer = client.post("/feedback", json=RIGHT)
    assert (answer.status_code, answer.json()) == (201, {"stored": True})
    row = json.loads(path.read_text(encoding="utf-8"))
    assert row.pop("time").endswith("+00:00")
    assert row == RIGHT
    assert path.stat().st_mode & 0o777 == 0o600
    examples = read_examples(path)
    assert (examples.texts, examples.labels) == ([RIGHT["text"]], [("größe",)])


def test_corrections_of_multi_label_and_shared_models_are_lists_and_name_the_task(
    client_of: Callable[..., Any], served: Any, tmp_path: Path, path: Path, log: FeedbackLog
) -> None:
    several = client_of(served.write_several(tmp_path / "several"), feedback=log)
    body = {"text": "card", "label": ["transfer", "größe"], "predicted": []}
    assert several.post("/feedback", json=body).status_code == 201
    assert several.post("/feedback", json=body | {"label": []}).status_code == 201
    examples = read_examples(path)
    assert (examples.multi_label, examples.labels) == (True, [("größe", "transfer"), ()])
    assert "a list of labels" in several.post("/feedback", json=RIGHT).json()["detail"]
    shared = client_of(served.write_shared(tmp_path / "shared"), feedback=log)
    assert shared.post("/feedback", json=RIGHT | {"task": "intent"}).status_code == 201
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["task"] == "intent"
    assert "allowed: 'intent, topics'" in shared.post("/feedback", json=RIGHT).json()["detail"]


def test_no_text_is_stored_without_a_file(client_of: Callable[..., Any], served: Any) -> None:
    answer = client_of(served.folder).post("/feedback", json=RIGHT)
    assert answer.status_code == 404
    assert "Start it with --feedback FILE" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "refund"}, "label is 'refund'; use one of the labels of GET /model"),
        ({"label": ["größe"]}, "the model needs one label, as a string"),
        ({"label": ""}, "use one of the labels"),
        ({"text": " \n"}, "text is empty"),
        ({"text": "a\0b"}, "text has control characters"),
        ({"text": "x" * 201}, "text has 201 characters, allowed: 200"),
        ({"predicted": "x" * 1001}, "at most 1000 characters"),
        ({"predicted": ["x"] * 101}, "predicted: Input should"),
        ({"version": "x" * 201}, "at most 200 characters"),
        ({"task": "other"}, "task is 'other'"),
        ({"user": "me"}, "user: unknown field; allowed: text, label, task, predicted, version"),
    ],
)
def test_a_wrong_correction_is_refused(
    change: Any, words: str, client_of: Callable[..., Any], served: Any, path: Path, log: FeedbackLog
) -> None:
    client = client_of(served.folder, Limits(max_characters=200), feedback=log)
    answer = client.post("/feedback", json=RIGHT | change)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert path.read_bytes() == b""


def test_a_key_is_needed_if_there_is_one(
    client_of: Callable[..., Any], served: Any, path: Path, log: FeedbackLog
) -> None:
    client = client_of(served.folder, key="sesame", feedback=log)
    assert client.post("/feedback", json=RIGHT).status_code == 401
    header = {"authorization": "Bearer sesame"}
    assert client.post("/feedback", json=RIGHT, headers=header).status_code == 201
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1


def test_too_many_corrections_are_refused_for_a_while(
    client_of: Callable[..., Any], served: Any, log: FeedbackLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(feedback, "time", SimpleNamespace(monotonic=lambda: now))
    client = client_of(served.folder, Limits(max_feedback=10**6), feedback=FeedbackLogOf(log))
    statuses = [client.post("/feedback", json=RIGHT).status_code for _ in range(PER_MINUTE + 1)]
    assert statuses == [201] * PER_MINUTE + [429]
    now += 2.5
    later = [client.post("/feedback", json=RIGHT) for _ in range(4)]
    assert [answer.status_code for answer in later] == [201, 201, 429, 429]
    assert later[2].headers["retry-after"] == "1"


class FeedbackLogOf:
    """A log that forgets."""

    def __init__(self, log: FeedbackLog) -> None:
        self.log = log

    def write(self, row: Any) -> bool:
        return True


def test_a_full_file_or_disk_is_status_507(
    client_of: Callable[..., Any], served: Any, path: Path, log: FeedbackLog
) -> None:
    client = client_of(served.folder, feedback=log)
    statuses = [client.post("/feedback", json=RIGHT | {"text": "x" * 300}).status_code for _ in range(4)]
    assert statuses == [201, 201, 507, 507]
    assert path.stat().st_size <= 1000
    assert client.post("/feedback", json=RIGHT).status_code == 201
    full = FeedbackLog(Path("/dev/full"), 1000)
    answer = client_of(served.folder, feedback=full).post("/feedback", json=RIGHT)
    full.close()
    assert (answer.status_code, "No space left" in answer.json()["detail"]) == (507, True)
    path.rename(path.with_suffix(".old"))
    log.reopen()
    assert client.post("/feedback", json=RIGHT).status_code == 201
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1
