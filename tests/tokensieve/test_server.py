from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokensieve
from tokensieve.predictor import Predictor
from tokensieve.server import Limits, app

ROOT = Path(tokensieve.__file__).parents[1]
HASH = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def predictor(served: Any) -> Predictor:
    return Predictor.load(served.folder, threads=1)


@pytest.fixture
def client(predictor: Predictor) -> Iterator[TestClient]:
    # A failure inside the service must show as a status, as it would to a user.
    with TestClient(app(predictor, Limits(texts=3, characters=40, body=2000)), raise_server_exceptions=False) as client:
        yield client


def test_one_text_gets_one_answer(client: TestClient, predictor: Predictor) -> None:
    answer = client.post("/predict", json={"text": "I lost my card", "top": 2})
    (expected,) = predictor.predict(["I lost my card"])
    assert answer.status_code == 200
    assert answer.json() == {
        "label": expected.label,
        "probability": expected.probability,
        "uncertain": expected.uncertain,
        "truncated": False,
        "top": [{"label": label, "probability": probability} for label, probability in expected.top[:2]],
        "data_hash": HASH,
    }


def test_many_texts_get_answers_in_order(client: TestClient, predictor: Predictor) -> None:
    texts = ["größe", "what is my balance for my card please?", ""]
    answer = client.post("/predict", json={"texts": texts}).json()
    assert answer["data_hash"] == HASH
    assert [item["probability"] for item in answer["predictions"]] == [item.probability for item in predictor.predict(texts)]
    assert len(answer["predictions"][0]["top"]) == 3
    assert client.post("/predict", json={"texts": ["i"]}).json()["predictions"][0]["label"]
    assert client.post("/predict", json={"texts": []}).json() == {"predictions": [], "data_hash": HASH}


def test_a_model_of_several_labels_answers_with_lists(served: Any, tmp_path: Path) -> None:
    several = Predictor.load(served.write_several(tmp_path), threads=1)
    with TestClient(app(several)) as client:
        texts = ["I lost my card", "what is my balance?", "send money to a friend please", "i", "größe"]
        many = client.post("/predict", json={"texts": texts, "top": 1}).json()
        one = client.post("/predict", json={"text": texts[0], "top": 1}).json()
        schema = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    assert one == many["predictions"][0] | {"data_hash": HASH}
    assert {reference["$ref"].split("/")[-1] for reference in schema["schema"]["anyOf"]} == {"OneSet", "ManySets"}
    for answer, found in zip(many["predictions"], several.predict(texts, top=1), strict=True):
        assert answer == {
            "labels": [{"label": label, "probability": probability} for label, probability in found.labels],
            "uncertain": found.uncertain,
            "truncated": False,
            "top": [{"label": label, "probability": probability} for label, probability in found.top],
        }
    assert any(answer["labels"] == [] for answer in many["predictions"])


def test_uncertain_and_truncated_reach_the_caller(client: TestClient, predictor: Predictor) -> None:
    texts = ["i", "größe", "i i i i i i i i i i i i i"]
    answer = client.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [item["uncertain"] for item in answer] == [item["probability"] < 0.8 for item in answer]
    assert [item["truncated"] for item in answer] == [False, False, True]


def test_health_names_the_model(client: TestClient) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "data_hash": HASH, "base": "tiny", "classes": 4})


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{}", 422, "give either text"),
        (b'{"text": "a", "texts": ["b"]}', 422, "give either text"),
        (b'{"text": null}', 422, "give either text"),
        (b'{"text": 5}', 422, "text: Input should be a valid string"),
        (b'{"text": ["a"]}', 422, "text: Input should be a valid string"),
        (b'{"texts": "a"}', 422, "texts: Input should be a valid list"),
        (b'{"texts": ["a", null]}', 422, "texts[1]: Input should be a valid string"),
        (b'{"text": "a", "top": 0}', 422, "top: Input should be greater than or equal to 1"),
        (b'{"text": "a", "top": "3"}', 422, "top: Input should be a valid integer"),
        (b'{"text": "a", "top": true}', 422, "top: Input should be a valid integer"),
        (b'{"txt": "a"}', 422, "txt: Extra inputs are not permitted"),
        (b'{"\\ud800": "a"}', 422, "send a JSON object"),
        (b'{"text": "card \\ud800"}', 422, "text: character 6 is half a surrogate pair"),
        (b'{"texts": ["a", "\\udfff"]}', 422, "texts[1]: character 1 is half a surrogate pair"),
        (b"", 422, "send a JSON object"),
        (b"[]", 422, "send a JSON object"),
        (b'"text"', 422, "send a JSON object"),
        (b"null", 422, "send a JSON object"),
        (b'{"text": "a"', 422, "not JSON: Expecting ',' delimiter at character 12"),
        (b"text=a", 422, "not JSON"),
        (b'{"text": "\xff"}', 400, "parsing the body"),
        (b"[" * 1900, 400, "parsing the body"),
        (b'{"text": ' + b"9" * 1900 + b"}", 422, "text: Input should be a valid string"),
        (b'{"texts": ["a", "b", "c", "d"]}', 422, "texts holds 4 texts, allowed: 3"),
        (b'{"text": "%s"}' % (b"a" * 41), 422, "text has 41 characters, allowed: 40"),
        (b'{"texts": ["a", "%s"]}' % (b"a" * 41), 422, "texts[1] has 41 characters, allowed: 40"),
        (b'{"text": "%s"}' % (b"a" * 2000), 413, "larger than 2000 bytes"),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(client: TestClient, body: bytes, status: int, words: str) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.sampled_from(["text", "texts", "top"]), inner, max_size=3),
    max_leaves=6,
)
QUERY = st.fixed_dictionaries({}, optional={"text": TEXT | JSON, "texts": st.lists(TEXT) | JSON, "top": st.integers() | JSON})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60) | (JSON | QUERY).map(lambda value: json.dumps(value).encode()))
def test_no_body_makes_the_service_fail(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 413, 422), answer.text
    assert answer.status_code == 200 or isinstance(answer.json()["detail"], str)


def test_the_description_shows_refusals_as_they_are(client: TestClient) -> None:
    responses = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]
    assert {responses[status]["content"]["application/json"]["schema"]["$ref"] for status in ("400", "413", "422")} == {
        "#/components/schemas/Refusal"
    }


def test_a_body_without_a_length_is_cut_off_too(client: TestClient) -> None:
    chunks = (b"a" * 500 for _ in range(100))
    answer = client.post("/predict", content=chunks, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (413, "the body is larger than 2000 bytes; send fewer texts a request")


def test_another_content_type_path_or_method_is_refused(client: TestClient) -> None:
    assert client.post("/predict", content=b'{"text": "a"}', headers={"Content-Type": "text/plain"}).status_code == 422
    assert client.get("/predict").status_code == 405
    assert client.get("/nowhere").status_code == 404


@pytest.mark.parametrize("text", ["\0", "", "\ufeff", "😀", "<b>card</b>", "\x7f\x1b[2J", "e\u0301" * 20, "\U0010ffff"])
def test_odd_but_valid_text_is_answered(client: TestClient, text: str) -> None:
    assert client.post("/predict", json={"text": text}).status_code == 200


def test_no_text_is_logged_or_sent_back(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for body in ({"text": "sesame"}, {"text": "sesame", "top": 0}, {"texts": ["sesame", 1]}, {"text": {"sesame": 1}}):
        assert "sesame" not in client.post("/predict", json=body).text
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    assert not any("sesame" in message for message in ours)


def test_a_process_answers_over_http_and_ends_when_told(served: Any, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"from pathlib import Path; from tokensieve.server import serve; serve(Path({str(served.folder)!r}), '127.0.0.1', {port})"
    address = f"http://127.0.0.1:{port}"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        assert wait_for(f"{address}/health", process)["status"] == "ok"
        assert call(f"{address}/predict", b'{"text": "sesame card"}')["data_hash"] == HASH
        for path, body, status in (("/predict", b'{"text": "sesame \\ud800"}', 422), ("/predict?text=sesame", None, 405)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                call(f"{address}{path}", body)
            with caught.value as refusal:
                assert refusal.code == status
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Uvicorn running" in log.read_text(encoding="utf-8")
    assert "sesame" not in log.read_text(encoding="utf-8")


def test_serving_imports_no_training_or_orchestration() -> None:
    heavy = ("torch", "transformers", "mlflow", "prefect", "pandas", "onnx")
    code = f"import sys, tokensieve.server; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def call(address: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
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
