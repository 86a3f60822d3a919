"""Requests with the columns of a model that reads several."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tokensieve.server.config import Limits
from tokensieve.server.feedback import FeedbackLog
from tokensieve.server.prediction_log import PredictionLog

ROW = {"subject": "card", "body": "where is my card"}
TEXT = "card\nwhere is my card"


@pytest.fixture
def folder(served: Any, tmp_path: Path) -> Path:
    made: Path = served.write(tmp_path / "model")
    replace(served.manifest, text_columns=("subject", "body")).save(made)
    return made


def test_objects_and_strings_in_one_request(
    client_of: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    log = PredictionLog(tmp_path / "log.jsonl")
    client = client_of(folder, prediction_log=log)
    assert client.get("/model").json()["text_columns"] == ["subject", "body"]
    first, second = client.post("/predict", json={"texts": [ROW, TEXT]}).json()["predictions"]
    assert first == second
    one = client.post("/predict", json={"text": ROW}).json()
    assert one["probability"] == pytest.approx(first["probability"], abs=1e-6)
    assert client.post("/predict", json={"text": {"subject": None, "body": "a"}}).status_code == 200
    log.close()
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == [TEXT, TEXT, TEXT, "a"]


def test_the_command_at_the_start_gives_the_columns(folder: Path, start: Callable[..., Any]) -> None:
    server = start(folder)
    body = '{"text": {"subject": "...", "body": "..."}}'
    assert f"-H 'content-type: application/json' -d '{body}'" in server.log_text()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"texts": ["a", {"subject": "a"}]},
            "texts[1] has no 'body'; the model reads the columns 'subject', 'body'",
        ),
        (
            {"text": ROW | {"id": "7"}},
            "text has 'id'; the model reads the columns 'subject', 'body'",
        ),
        ({"text": ROW | {"body": 7}}, "text: 'body' is not a text; give a string, or null"),
        (
            {"text": None},
            "give either text, a string or an object with the columns 'subject', 'body', or texts, a list of "
            "them",
        ),
        ({"text": ["a"]}, "text: Input should be a valid string"),
        ({"texts": [ROW, 5]}, "texts[1]: Input should be a valid string"),
        (
            {"text": ROW | {"body": "x" * 40}},
            "text has 45 characters, allowed: 40; shorten it",
        ),
    ],
)
def test_other_objects_are_refused_with_the_reason(
    client_of: Callable[..., Any], folder: Path, body: Any, words: str
) -> None:
    response = client_of(folder, Limits(max_characters=40)).post("/predict", json=body)
    assert (response.status_code, response.json()["detail"]) == (422, words)


def test_a_model_of_one_text_refuses_objects(client_of: Callable[..., Any], served: Any) -> None:
    client = client_of(served.folder)
    assert client.get("/model").json()["text_columns"] == []
    response = client.post("/predict", json={"texts": [{"text": "a"}]})
    detail = "texts[0] is an object; the model reads one text per row: give a string"
    assert (response.status_code, response.json()["detail"]) == (422, detail)


def test_explain_returns_the_text_of_its_spans(client_of: Callable[..., Any], folder: Path) -> None:
    client = client_of(folder)
    found = client.post("/explain", json={"text": ROW}).json()
    plain = client.post("/explain", json={"text": TEXT}).json()
    assert found["text"] == TEXT
    assert "text" not in plain
    assert found["words"] == plain["words"]
    for word in found["words"]:
        start, end = word["spans"][0]
        assert TEXT[start:end] == word["text"]


def test_feedback_keeps_the_columns(client_of: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "right.jsonl", 10_000)
    client = client_of(folder, feedback=log)
    label = client.get("/model").json()["labels"][0]
    assert client.post("/feedback", json={"text": ROW, "label": label}).status_code == 201
    assert client.post("/feedback", json={"text": {"subject": "a"}, "label": label}).status_code == 422
    log.close()
    row = json.loads((tmp_path / "right.jsonl").read_text(encoding="utf-8"))
    assert (row["text"], row["columns"], row["label"]) == (TEXT, ROW, label)


def test_a_model_that_strips_html_shows_what_it_read(
    client_of: Callable[..., Any], served: Any, tmp_path: Path
) -> None:
    folder = served.write(tmp_path / "clean")
    replace(served.manifest, clean="html").save(folder)
    client = client_of(folder)
    assert client.get("/model").json()["clean"] == "html"
    mail, clean = "<p>where is&nbsp;my card</p>", "where is my card"
    first, second = client.post("/predict", json={"texts": [mail, clean]}).json()["predictions"]
    assert first == second
    found = client.post("/explain", json={"text": mail}).json()
    assert found["text"] == clean
    assert all(clean[slice(*word["spans"][0])] == word["text"] for word in found["words"])
