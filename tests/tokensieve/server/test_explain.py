from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokensieve.inference.explain import MOST, explain
from tokensieve.inference.load import load
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.server.batcher import Batcher, QueueFull
from tokensieve.server.config import Limits
from tokensieve.server.schema import ExplainResponse, TasksExplainResponse

TEXT = "I lost my card 💔 größe"


def test_effects_equal_those_of_the_library(client_of: Callable[..., Any], served: Any) -> None:
    answer = client_of(served.folder).post("/explain", json={"text": TEXT})
    assert answer.status_code == 200
    ExplainResponse.model_validate(answer.json(), strict=True, extra="forbid")
    expected = explain(load(served.folder, 1), TEXT)[SINGLE_TASK]
    found = answer.json()
    assert (found["label"], found["probability"]) == (expected.label, pytest.approx(expected.probability))
    assert [word["text"] for word in found["words"]] == ["I", "lost", "my", "card", "💔", "größe"]
    assert found["words"][4]["spans"] == [[15, 16]]
    assert [word["effect"] for word in found["words"]] == pytest.approx(
        [effect.effect for effect in expected.words], abs=1e-4
    )
    predicted = client_of(served.folder).post("/predict", json={"text": TEXT}).json()
    assert [predicted[name] for name in ("label", "version", "data_hash")] == [
        found[name] for name in ("label", "version", "data_hash")
    ]


def test_a_label_of_a_shared_model_is_explained(
    client_of: Callable[..., Any], served: Any, tmp_path: Path
) -> None:
    client = client_of(served.write_shared(tmp_path))
    answer = client.post("/explain", json={"text": TEXT}).json()
    TasksExplainResponse.model_validate(answer, strict=True, extra="forbid")
    assert set(answer["tasks"]) == {"intent", "topics"}
    found = client.post("/explain", json={"text": TEXT, "label": "transfer"}).json()
    assert set(found["tasks"]) == {"intent"}


def test_predictions_are_not_counted_and_texts_are_not_logged(
    client_of: Callable[..., Any], served: Any
) -> None:
    class Log:
        write = None  # calling it would fail

    client = client_of(served.folder, prediction_log=Log())
    assert client.post("/explain", json={"text": TEXT}).status_code == 200
    assert "tokensieve_labels_total{" not in client.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"text": "lost", "label": "refund"}, 422, "no label 'refund'"),
        ({"text": ["lost"]}, 422, "text: Input should be a valid string"),
        ({"texts": ["lost"]}, 422, "text: Field required"),
        ({"text": "lost", "top": 3}, 422, "top: unknown field; allowed: text, label"),
        ({"text": "x" * 41}, 422, "text has 41 characters, allowed: 40"),
        (["lost"], 422, "send a JSON object with text, with Content-Type"),
    ],
)
def test_a_wrong_request_is_refused(
    body: Any, status: int, words: str, client_of: Callable[..., Any], served: Any
) -> None:
    answer = client_of(served.folder, Limits(max_characters=40)).post("/explain", json=body)
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_an_explanation_has_as_many_predictions_as_a_request_may_have(
    client_of: Callable[..., Any], served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    compute = Batcher.compute

    async def counted(self: Batcher, model: Any, ids: Any, client: str = "") -> Any:
        sizes.append(len(ids))
        return await compute(self, model, ids, client)

    monkeypatch.setattr(Batcher, "compute", counted)
    for most in (1, 4, 128):
        client = client_of(served.folder, Limits(max_texts=most))
        assert client.post("/explain", json={"text": "i lost my card what is"}).status_code == 200
    assert sizes == [2, 4, 7]
    assert Limits().max_texts == MOST + 1


def test_a_full_queue_and_a_late_answer_are_status_503(
    client_of: Callable[..., Any], served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> Any:
        raise QueueFull

    async def slow(*_: Any) -> Any:
        await asyncio.sleep(5)

    for compute, limits, words, after in (
        (full, Limits(), "the queue is full", "1"),
        (slow, Limits(timeout=0.2), "no answer within 0.2 s", "5"),
    ):
        monkeypatch.setattr(Batcher, "compute", compute)
        answer = client_of(served.folder, limits).post("/explain", json={"text": "lost"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, after)
        assert words in answer.json()["detail"]


def test_text_that_is_no_unicode_is_explained(client_of: Callable[..., Any], served: Any) -> None:
    content = b'{"text": "lost \\ud83d card"}'
    answer = client_of(served.folder).post(
        "/explain", content=content, headers={"content-type": "application/json"}
    )
    if answer.status_code == 200:
        assert [word["text"] for word in answer.json()["words"]] == ["lost", "\ufffd", "card"]
    else:
        assert answer.status_code == 422
