from __future__ import annotations

import asyncio
import gzip
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tokenizers import Tokenizer

import tokensieve
from tests.ports import free_port
from tokensieve.inference.manifest import TOKENIZER
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.shared_predictor import SharedPredictor, save_manifest
from tokensieve.model.prompt import add_prompt
from tokensieve.server.app import create_app, serve
from tokensieve.server.batcher import Batcher
from tokensieve.server.config import Limits, ServerConfig
from tokensieve.server.model_watcher import FolderSource, ModelWatcher
from tokensieve.server.prediction_log import PredictionLog
from tokensieve.server.prometheus import Metrics
from tokensieve.server.schema import (
    ModelInfo,
    ModelInfoByTask,
    MultiLabelResponse,
    MultiLabelResponses,
    SingleLabelResponse,
    SingleLabelResponses,
    TasksResponse,
    TasksResponses,
)

ROOT = Path(tokensieve.__file__).parents[1]
HASH = "0123456789abcdef0123456789abcdef"
LIMITS = Limits(max_texts=3, max_characters=40, max_body=2000)
POST = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def watcher(served: Any) -> ModelWatcher:
    return ModelWatcher(FolderSource(served.folder), 1)


@pytest.fixture(scope="module")
def predictor(watcher: ModelWatcher) -> Predictor:
    assert isinstance(watcher.current.model, Predictor)
    return watcher.current.model


@contextmanager
def serving(
    watcher: ModelWatcher, limits: Limits = LIMITS, budget: int = 64, **rest: Any
) -> Iterator[TestClient]:
    """Yield a client of the application. Errors become status 500, as for a user."""
    metrics = Metrics()
    batcher = Batcher(2, budget, limits.max_queue, metrics.batches.observe)
    try:
        with TestClient(
            create_app(watcher, batcher, metrics, limits, **rest), raise_server_exceptions=False
        ) as client:
            yield client
    finally:
        batcher.close()


@pytest.fixture(scope="module")
def client(watcher: ModelWatcher) -> Iterator[TestClient]:
    with serving(watcher) as client:
        yield client


def test_one_text_gets_one_answer(client: TestClient, predictor: Predictor, watcher: ModelWatcher) -> None:
    answer = client.post("/predict", json={"text": "I lost my card", "top": 2})
    (expected,) = predictor.predict(["I lost my card"])
    assert answer.status_code == 200
    assert answer.json() == {
        "label": expected.label,
        "probability": expected.probability,
        "uncertain": expected.uncertain,
        "truncated": False,
        "top": [{"label": label, "probability": probability} for label, probability in expected.top[:2]],
        "version": watcher.current.version,
        "data_hash": HASH,
    }
    SingleLabelResponse.model_validate(answer.json(), strict=True, extra="forbid")


def test_many_texts_get_answers_in_order(
    client: TestClient, predictor: Predictor, watcher: ModelWatcher
) -> None:
    texts = ["größe", "what is my balance for my card please?", ""]
    answer = client.post("/predict", json={"texts": texts}).json()
    assert answer["data_hash"] == HASH
    assert [item["probability"] for item in answer["predictions"]] == pytest.approx(
        [item.probability for item in predictor.predict(texts)]
    )
    assert len(answer["predictions"][0]["top"]) == 3
    assert client.post("/predict", json={"texts": ["i"]}).json()["predictions"][0]["label"]
    SingleLabelResponses.model_validate(answer, strict=True, extra="forbid")
    assert client.post("/predict", json={"texts": []}).json() == {
        "predictions": [],
        "version": watcher.current.version,
        "data_hash": HASH,
    }


def test_multi_label_model_returns_lists_of_labels(served: Any, tmp_path: Path) -> None:
    several = ModelWatcher(FolderSource(served.write_several(tmp_path)), 1)
    texts = ["I lost my card", "what is my balance?", "send money"]
    with serving(several) as client:
        many = client.post("/predict", json={"texts": texts, "top": 1}).json()
        one = client.post("/predict", json={"text": texts[0], "top": 1}).json()
        assert client.get("/model").json()["several"]
    MultiLabelResponses.model_validate(many, strict=True, extra="forbid")
    MultiLabelResponse.model_validate(one, strict=True, extra="forbid")
    assert one == many["predictions"][0] | {"version": several.current.version, "data_hash": HASH}
    for answer, found in zip(many["predictions"], several.current.model.predict(texts, top=1), strict=True):
        assert [item["label"] for item in answer["labels"]] == [label for label, _ in found.labels]
        assert [item["probability"] for item in answer["labels"]] == pytest.approx(
            [chance for _, chance in found.labels]
        )
        assert (answer["uncertain"], answer["truncated"], len(answer["top"])) == (found.uncertain, False, 1)


def test_shared_model_predicts_like_the_model_of_each_task(served: Any, tmp_path: Path) -> None:
    shared = ModelWatcher(FolderSource(served.write_shared(tmp_path / "shared")), 1)
    texts = ["I lost my card", "what is my balance?", "i i i i i i i i i i i i i", ""]
    expected = SharedPredictor.load(tmp_path / "shared", threads=1).predict_by_task(texts, top=2)
    assert [answer.label for answer in expected["intent"]] == [  # type: ignore[union-attr]
        answer.label
        for answer in Predictor.load(served.folder, 1).predict(texts)  # type: ignore[union-attr]
    ]
    prediction_log = PredictionLog(tmp_path / "texts.jsonl")
    with serving(shared, Limits(max_texts=4), prediction_log=prediction_log) as client:
        many = client.post("/predict", json={"texts": texts, "top": 2}).json()
        one = client.post("/predict", json={"text": texts[0], "top": 2}).json()
        none = client.post("/predict", json={"texts": []}).json()
        facts = client.get("/model").json()
        lines = client.get("/metrics").text.splitlines()
    prediction_log.close()
    of = {"version": shared.current.version, "data_hashes": {"intent": HASH, "topics": "topics"}}
    TasksResponses.model_validate(many, strict=True, extra="forbid")
    TasksResponse.model_validate(one, strict=True, extra="forbid")
    assert one == many["predictions"][0] | of
    assert none == {"predictions": []} | of
    assert many["version"] == of["version"]
    for place, answer in enumerate(many["predictions"]):
        intent, topics = expected["intent"][place], expected["topics"][place]
        assert not intent.multi_label
        assert topics.multi_label
        told = answer["tasks"]["intent"]
        assert (told["label"], told["uncertain"], told["truncated"]) == (
            intent.label,
            intent.uncertain,
            intent.truncated,
        )
        assert told["probability"] == pytest.approx(intent.probability)
        assert [item["label"] for item in answer["tasks"]["topics"]["labels"]] == [
            label for label, _ in topics.labels
        ]
        assert [item["label"] for item in answer["tasks"]["topics"]["top"]] == [
            label for label, _ in topics.top
        ]
    ModelInfoByTask.model_validate(facts, strict=True, extra="forbid")
    assert {task: told["several"] for task, told in facts["tasks"].items()} == {
        "intent": False,
        "topics": True,
    }
    for line in (
        'tokensieve_confidence_count{task="topics"} 5.0',
        "tokensieve_batch_texts_sum 5.0",
        "tokensieve_truncated_total 1.0",
    ):
        assert line in lines, line
    kept = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted({line["task"] for line in kept}) == ["intent", "topics"]
    assert len(kept) == 10


def test_response_marks_uncertain_and_truncated_texts(client: TestClient, predictor: Predictor) -> None:
    texts = ["i", "größe", "i i i i i i i i i i i i i"]
    answer = client.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [item["uncertain"] for item in answer] == [item["probability"] < 0.8 for item in answer]
    assert [item["truncated"] for item in answer] == [False, False, True]


def test_model_endpoint_describes_the_model(client: TestClient, watcher: ModelWatcher, served: Any) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    ready = client.get("/ready").json()
    assert ready == {
        "status": "ready",
        "version": watcher.current.version,
        "trouble": None,
        "checked": watcher.checked_at,
    }
    assert abs(datetime.fromisoformat(ready["checked"]).timestamp() - time.time()) < 300
    facts = client.get("/model").json()
    ModelInfo.model_validate(facts, strict=True, extra="forbid")
    assert (facts["labels"], facts["data_hash"], facts["several"]) == (
        list(served.manifest.labels),
        HASH,
        False,
    )
    assert facts["files"] == dict(watcher.current.model.manifest.files)
    assert facts["prompt"] == ""


def test_model_endpoint_names_the_prompt(served: Any, tmp_path: Path) -> None:
    single, shared = served.write(tmp_path / "single"), served.write_shared(tmp_path / "shared")
    tasks = SharedPredictor.load(shared).tasks
    tokenizer = Tokenizer.from_file(str(single / TOKENIZER))
    add_prompt(tokenizer, "lost card ? ")
    for folder in (single, shared):
        tokenizer.save(str(folder / TOKENIZER))
    served.manifest.save(single)
    save_manifest(shared, tasks, layers=1)
    with serving(ModelWatcher(FolderSource(single), 1)) as client:
        assert client.get("/model").json()["prompt"] == "lost card ? "
    with serving(ModelWatcher(FolderSource(shared), 1)) as client:
        assert client.get("/model").json()["tasks"]["topics"]["prompt"] == "lost card ? "


def test_metrics_count_requests_and_predictions(watcher: ModelWatcher) -> None:
    with serving(watcher) as client:
        client.post("/predict", json={"texts": ["I lost my card", "i i i i i i i i i i i i i"]})
        client.post("/predict", json={"text": 5})
        metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    lines = metrics.text.splitlines()
    for line in (
        'tokensieve_requests_total{status="200"} 1.0',
        'tokensieve_requests_total{status="422"} 1.0',
        "tokensieve_request_seconds_count 2.0",
        "tokensieve_batch_texts_sum 2.0",
        'tokensieve_confidence_count{task=""} 2.0',
        "tokensieve_truncated_total 1.0",
        "tokensieve_queue_texts 0.0",
        f'tokensieve_model{{data_hash="{HASH}",task="",version="{watcher.current.version}"}} 1.0',
    ):
        assert line in lines, line
    assert sum(float(line.split()[-1]) for line in lines if line.startswith("tokensieve_labels_total{")) == 2
    assert "lost" not in metrics.text.replace("card_lost", "")


def test_all_paths_but_health_probes_need_the_api_key(watcher: ModelWatcher) -> None:
    with serving(watcher, key="sesame") as client:
        for headers in (
            {},
            {"Authorization": "Bearer sesam"},
            {"Authorization": "sesame"},
            {"Authorization": "Bearer s\u00e9same".encode()},
        ):
            refusal = client.post("/predict", json={"text": "card"}, headers=headers)
            assert (refusal.status_code, refusal.headers["www-authenticate"]) == (401, "Bearer")
            assert refusal.json() == {"detail": "send the API key as Authorization: Bearer KEY"}
        right = {"Authorization": "Bearer sesame"}
        assert client.post("/predict", json={"text": "card"}, headers=right).status_code == 200
        assert 'tokensieve_requests_total{status="401"} 4.0' in client.get("/metrics", headers=right).text
        for path, status in (
            ("/health", 200),
            ("/ready", 200),
            ("/metrics", 401),
            ("/model", 401),
            ("/openapi.json", 401),
        ):
            assert client.get(path).status_code == status, path


def test_full_queue_returns_503_with_retry_after(watcher: ModelWatcher) -> None:
    blocked, running = threading.Event(), threading.Semaphore(0)

    def wait(ids: Any) -> Any:
        running.release()
        return blocked.wait(20) and run(ids)

    with serving(watcher, Limits(max_queue=2), budget=1) as client, pytest.MonkeyPatch.context() as patched:
        run = watcher.current.model.run
        patched.setattr(watcher.current.model, "run", wait)
        patched.setattr("tokensieve.server.batcher.MAX_INLINE_TOKENS", 0)
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(client.post, "/predict", json={"text": "card"}) for _ in range(2)]
            # Both workers compute before the others come: the queue is empty then.
            assert all(running.acquire(timeout=10) for _ in range(2))
            waiting += [pool.submit(client.post, "/predict", json={"text": "card"}) for _ in range(6)]
            deadline = time.monotonic() + 10
            while sum(request.done() for request in waiting) < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            blocked.set()
            answers = [request.result() for request in waiting]
    # Two are being computed by the two workers, two wait.
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == 4
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(
        answer.headers["retry-after"] == "1" and "queue is full" in answer.json()["detail"]
        for answer in refused
    )


def test_texts_being_tokenized_count_in_the_queue(watcher: ModelWatcher) -> None:
    begun, blocked = threading.Event(), threading.Event()
    with (
        serving(watcher, Limits(max_queue=2)) as client,
        pytest.MonkeyPatch.context() as patched,
        ThreadPoolExecutor(1) as pool,
    ):
        tokenize = watcher.current.model.tokenize

        def slow(texts: list[str]) -> Any:
            if len(texts) == 3:
                begun.set()
                assert blocked.wait(20)
            return tokenize(texts)

        patched.setattr(watcher.current.model, "tokenize", slow)
        patched.setattr("tokensieve.server.predict.SHORT", 8)
        long = pool.submit(client.post, "/predict", json={"texts": ["a long text"] * 3})
        assert begun.wait(20)
        assert client.post("/predict", json={"texts": ["card", "card"]}).status_code == 503
        blocked.set()
        assert long.result().status_code == 200
        assert client.post("/predict", json={"texts": ["card", "card"]}).status_code == 200


def test_timeout_returns_503_and_counts_no_prediction(watcher: ModelWatcher) -> None:
    done, ran = threading.Event(), threading.Event()
    with serving(watcher, Limits(timeout=0.2)) as client, pytest.MonkeyPatch.context() as patched:
        run = watcher.current.model.run
        patched.setattr(watcher.current.model, "run", lambda ids: done.wait(20) and run(ids))
        patched.setattr("tokensieve.server.batcher._deliver", lambda results: ran.set())
        late = client.post("/predict", json={"texts": ["card", "card"]})
        done.set()
        assert ran.wait(10)
        assert "tokensieve_confidence_count" not in client.get("/metrics").text
    assert (late.status_code, late.headers["retry-after"]) == (503, "5")
    assert late.json()["detail"].startswith("no answer within 0.2 s")


def test_texts_are_written_only_to_the_prediction_log(watcher: ModelWatcher, tmp_path: Path) -> None:
    prediction_log = PredictionLog(tmp_path / "texts.jsonl")
    with serving(watcher, prediction_log=prediction_log) as client:
        said = client.post("/predict", json={"texts": ["I lost my card", "gr\u00f6\u00dfe\n"]}).json()[
            "predictions"
        ]
        client.post("/predict", json={"text": "card", "top": 0})
    prediction_log.close()
    kept = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in kept] == ["I lost my card", "gr\u00f6\u00dfe\n"]
    for line, answer in zip(kept, said, strict=True):
        assert {key: line[key] for key in ("label", "probability", "uncertain")} == {
            key: answer[key] for key in ("label", "probability", "uncertain")
        }
        assert line["version"] == watcher.current.version


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{}", 422, "give either text"),
        (b'{"text": "a", "texts": ["b"]}', 422, "give either text"),
        (b'{"text": null}', 422, "give either text"),
        (b'{"text": 5}', 422, "text: Input should be a valid string"),
        (b'{"text": ["a"]}', 422, "text: Input should be a valid string"),
        (b'{"texts": "a"}', 422, "texts: Input should be a valid array"),
        (b'{"texts": ["a", null]}', 422, "texts[1]: Input should be a valid string"),
        (b'{"text": "a", "top": 0}', 422, "top: Input should be greater than or equal to 1"),
        (b'{"text": "a", "top": "3"}', 422, "top: Input should be a valid integer"),
        (b'{"text": "a", "top": true}', 422, "top: Input should be a valid integer"),
        (b'{"txt": "a"}', 422, "txt: unknown field; allowed: text, texts, top"),
        (b'{"\\ud800": "a"}', 422, "not JSON"),
        (b'{"text": "card \\ud800"}', 422, "not JSON: "),
        (b'{"texts": ["a", "\\udfff"]}', 422, "not JSON: "),
        (b"", 422, "not JSON"),
        (b"[]", 422, "send a JSON object"),
        (b'"text"', 422, "send a JSON object"),
        (b"null", 422, "send a JSON object"),
        (b'{"text": "a"', 422, "not JSON: EOF while parsing an object at line 1 column 12"),
        (b"text=a", 422, "not JSON"),
        (b'{"text": "\xff"}', 422, "not JSON: invalid unicode"),
        (b"[" * 1900, 422, "not JSON: recursion"),
        (b'{"text": "a", "text": "b"}', 422, "the object has the key 'text' 2 times; send it once"),
        (b'{"text": "a", "top": 1, "t\\u006fp": 2}', 422, "has the key 'top' 2 times"),
        (b'{"text": {"<b>": "a", "<b>": "a"}}', 422, "has the key '<b>' 2 times"),
        (b'{"text": {"a": %s}}' % (b"9" * 1900), 422, "text is an object; the model reads one text"),
        (b'{"text": ' + b"9" * 1900 + b"}", 422, "text: Input should be a valid string"),
        (b'{"texts": ["a", "b", "c", "d"]}', 422, "texts holds 4 texts, allowed: 3"),
        (b'{"text": "%s"}' % (b"a" * 41), 422, "text has 41 characters, allowed: 40"),
        (b'{"texts": ["a", "%s"]}' % (b"a" * 41), 422, "texts[1] has 41 characters, allowed: 40"),
        (b'{"text": "%s"}' % (b"a" * 2000), 413, "larger than 2000 bytes"),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(
    client: TestClient, body: bytes, status: int, words: str
) -> None:
    answer = client.post("/predict", content=body, headers=POST)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT | st.sampled_from(["text", "texts", "top"]), inner, max_size=3)
    ),
    max_leaves=6,
)
QUERY = st.fixed_dictionaries(
    {}, optional={"text": TEXT | JSON, "texts": st.lists(TEXT) | JSON, "top": st.integers() | JSON}
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60) | (JSON | QUERY).map(lambda value: json.dumps(value).encode()))
def test_no_body_causes_a_server_error(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers=POST)
    assert answer.status_code in (200, 413, 422), answer.text
    assert answer.status_code == 200 or isinstance(answer.json()["detail"], str)


def test_openapi_document_contains_the_error_responses(client: TestClient) -> None:
    responses = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]
    assert {
        responses[status]["content"]["application/json"]["schema"]["$ref"]
        for status in ("408", "413", "415", "422", "503")
    } == {"#/components/schemas/ErrorResponse"}


def test_body_limit_applies_without_content_length(client: TestClient) -> None:
    chunks = (b"a" * 500 for _ in range(100))
    answer = client.post("/predict", content=chunks, headers=POST)
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "the body is larger than 2000 bytes; send fewer texts a request",
    )


def test_compressed_body_is_refused(client: TestClient) -> None:
    answer = client.post(
        "/predict", content=gzip.compress(b'{"text": "a"}'), headers=POST | {"Content-Encoding": "gzip"}
    )
    assert (answer.status_code, answer.json()["detail"]) == (
        415,
        "the body has Content-Encoding 'gzip'; send it as it is, uncompressed",
    )
    assert (
        client.post(
            "/predict", content=b'{"text": "a"}', headers=POST | {"Content-Encoding": "identity"}
        ).status_code
        == 200
    )


def test_request_for_too_many_labels_is_refused(watcher: ModelWatcher) -> None:
    with serving(watcher, Limits(max_candidates=5)) as client:
        assert client.post("/predict", json={"texts": ["a", "b"], "top": 2}).status_code == 200
        refused = client.post("/predict", json={"texts": ["a", "b"], "top": 9})
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "the answer would name 8 labels, allowed: 5; lower top, or send fewer texts",
    )


def test_ready_shows_the_full_error_only_with_the_api_key(
    watcher: ModelWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "_last_error", "/secret/path is missing")
    with serving(watcher) as client:
        assert client.get("/ready").json()["trouble"] == "/secret/path is missing"
    with serving(watcher, key="sesame") as client:
        short = client.get("/ready").json()["trouble"]
        assert (short, "secret" in short) == (
            "the newest model is not in use; send the API key to see why",
            False,
        )
        assert (
            client.get("/ready", headers={"Authorization": "Bearer sesame"}).json()["trouble"]
            == "/secret/path is missing"
        )
        lines = client.get("/metrics", headers={"Authorization": "Bearer sesame"}).text.splitlines()
    assert "tokensieve_trouble 1.0" in lines
    assert any(line.startswith("tokensieve_checked_timestamp_seconds 1.") for line in lines)


def test_index_lists_all_paths(client: TestClient) -> None:
    found = client.get("/").json()
    assert (found["service"], "POST /predict" in found["paths"]) == ("tokensieve", True)
    for path in found["paths"]:
        if path.startswith("/"):
            assert client.get(path).status_code == 200, path


def test_docs_page_loads_no_other_resource(client: TestClient) -> None:
    page = client.get("/docs").text
    for words in (
        "POST /predict",
        "several texts to label",
        "The reason why a request was refused",
        "TasksResponses",
    ):
        assert words in page, words
    assert not [tag for tag in ("<script", "<link", "<img", "src=", "@import", "url(") if tag in page]


def test_another_content_type_path_or_method_is_refused(client: TestClient) -> None:
    assert (
        client.post("/predict", content=b'{"text": "a"}', headers={"Content-Type": "text/plain"}).status_code
        == 415
    )
    assert client.get("/predict").status_code == 405
    assert client.get("/nowhere").status_code == 404


@pytest.mark.parametrize(
    "text", ["\0", "", "\ufeff", "😀", "<b>card</b>", "\x7f\x1b[2J", "e\u0301" * 20, "\U0010ffff"]
)
def test_unusual_but_valid_text_gets_a_prediction(client: TestClient, text: str) -> None:
    assert client.post("/predict", json={"text": text}).status_code == 200


def test_no_text_is_logged_or_sent_back(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for body in (
        {"text": "sesame"},
        {"text": "sesame", "top": 0},
        {"texts": ["sesame", 1]},
        {"text": {"sesame": 1}},
    ):
        assert "sesame" not in client.post("/predict", json=body).text
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    assert not any("sesame" in message for message in ours)


def test_process_serves_http_until_sigterm(served: Any, tmp_path: Path) -> None:
    port = free_port()
    arguments = ["serve", "--model", str(served.folder), "--port", str(port)]
    code = f"import sys; from tokensieve.cli.main import main; sys.exit(main({arguments!r}))"
    address = f"http://127.0.0.1:{port}"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        assert wait_for(f"{address}/health", process)["status"] == "ok"
        assert call(f"{address}/predict", b'{"text": "sesame card"}')["data_hash"] == HASH
        for path, body, status in (
            ("/predict", b'{"text": "sesame \\ud800"}', 422),
            ("/predict?text=sesame", None, 405),
        ):
            with pytest.raises(urllib.error.HTTPError) as caught:
                call(f"{address}{path}", body)
            with caught.value as refusal:
                assert refusal.code == status
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    assert process.returncode == 0
    assert f"no API key: every request is answered at {address}" in log.read_text(encoding="utf-8")
    assert "sesame" not in log.read_text(encoding="utf-8")


def test_client_address_ignores_forwarded_headers(
    watcher: ModelWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    async def spy(scope: Any, *_: Any) -> None:
        seen.append(scope["client"])

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        for one in sockets:
            one.close()
        server.config.load()
        scope = {
            "type": "http",
            "scheme": "http",
            "client": ("127.0.0.1", 7),
            "headers": [(b"x-forwarded-for", b"10.0.0.7")],
        }
        asyncio.run(server.config.loaded_app(scope, None, None))

    monkeypatch.setattr("tokensieve.server.app.create_app", lambda *_: spy)
    monkeypatch.setattr("tokensieve.server.sockets.Server.run", run)
    serve(watcher, ServerConfig(port=0), LIMITS)
    assert seen == [("127.0.0.1", 7)]


def test_added_middleware_and_routes_see_every_request(watcher: ModelWatcher) -> None:
    seen: list[str] = []

    class Recorder:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope.get("path", scope["type"]))
            await self.app(scope, receive, send)

    metrics = Metrics()
    batcher = Batcher(1, 64, LIMITS.max_queue, metrics.batches.observe)
    application = create_app(watcher, batcher, metrics, LIMITS)
    application.add_middleware(Recorder)
    try:
        client = TestClient(application)
        assert client.post("/predict", json={"text": "card"}).status_code == 200
        assert client.get("/health").status_code == 200
    finally:
        batcher.close()
    assert seen == ["/predict", "/health"]


def test_serving_imports_no_training_or_orchestration() -> None:
    heavy = ("torch", "transformers", "mlflow", "prefect", "pandas", "onnx")
    code = f"import sys, tokensieve.server.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def call(address: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(address, data=body, headers=POST)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))


def wait_for(address: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return call(address)
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {address}; the process returned {process.poll()}")
