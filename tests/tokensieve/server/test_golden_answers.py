"""Compare HTTP answers with those recorded in golden_answers.json: status, headers and JSON
body.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import tokensieve
from tokensieve.server.app import create_app
from tokensieve.server.batcher import Batcher
from tokensieve.server.config import Limits
from tokensieve.server.model_watcher import FolderSource, ModelWatcher
from tokensieve.server.prometheus import Metrics

GOLDEN = Path(__file__).with_name("golden_answers.json")
HEADERS = ("content-type", "retry-after", "www-authenticate", "allow")
JSON = {"content-type": "application/json"}
WORDS = ("description", "title", "summary", "operationId")  # of an OpenAPI document: free to change
KEY = {"authorization": "Bearer sesame"}

BODIES: dict[str, Any] = {
    "one text": {"text": "I lost my card"},
    "one text, top 1": {"text": "what is my balance?", "top": 1},
    "an empty text": {"text": ""},
    "a long text": {"text": "send money to a friend please . i lost my card ? what is my balance"},
    "three texts": {"texts": ["größe", "send money to a friend", "what is my balance for my card please?"]},
    "no texts": {"texts": []},
    "neither text nor texts": {},
    "both text and texts": {"text": "a", "texts": ["b"]},
    "a number as text": {"text": 5},
    "a null among texts": {"texts": ["a", None]},
    "top 0": {"text": "a", "top": 0},
    "an unknown field": {"text": "a", "labels": 1},
    "a list": ["a"],
    "too many texts": {"texts": ["a", "b", "c", "d"]},
    "too long a text": {"texts": ["a", "b" * 81]},
    "too many labels": {"texts": ["a", "b", "c"], "top": 9},
    "too large a body": {"text": "a" * 2001},
}
Request = tuple[str, str, dict[str, str], bytes]  # method, path, headers, body

REQUESTS: dict[str, Request] = {
    **{case: ("POST", "/predict", JSON, json.dumps(body).encode()) for case, body in BODIES.items()},
    "half a JSON body": ("POST", "/predict", JSON, b'{"text": "a"'),
    "text/plain": ("POST", "/predict", {"content-type": "text/plain"}, b'{"text": "a"}'),
    "gzip": ("POST", "/predict", JSON | {"content-encoding": "gzip"}, gzip.compress(b"{}", mtime=0)),
    "a charset": (
        "POST",
        "/predict",
        {"content-type": "Application/JSON; charset=utf-8"},
        b'{"text": "card"}',
    ),
    "explain a text": ("POST", "/explain", JSON, b'{"text": "I lost my card"}'),
    "explain a label": ("POST", "/explain", JSON, b'{"text": "lost", "label": "transfer"}'),
    "explain an unknown label": ("POST", "/explain", JSON, b'{"text": "lost", "label": "refund"}'),
    "explain without a text": ("POST", "/explain", JSON, b"{}"),
    "explain too long a text": ("POST", "/explain", JSON, json.dumps({"text": "b" * 81}).encode()),
    "GET /explain": ("GET", "/explain", {}, b""),
    "feedback that is off": ("POST", "/feedback", JSON, b'{"text": "lost", "label": "transfer"}'),
    "a browser's GET /": ("GET", "/", {"accept": "text/html,*/*;q=0.8"}, b""),
    "GET /console/console.js": ("GET", "/console/console.js", {}, b""),
    "GET /console/none.js": ("GET", "/console/none.js", {}, b""),
    "GET /predict": ("GET", "/predict", {}, b""),
    "PUT /predict": ("PUT", "/predict", JSON, b'{"text": "a"}'),
    "POST /predict/": ("POST", "/predict/", JSON, b'{"text": "a"}'),
    "an unknown path": ("GET", "/nowhere", {}, b""),
    "POST /model": ("POST", "/model", JSON, b"{}"),
    "HEAD /health": ("HEAD", "/health", {}, b""),
    **{f"GET {path}": ("GET", path, {}, b"") for path in ("/", "/health", "/ready", "/model", "/docs")},
    "GET /metrics": ("GET", "/metrics", {}, b""),
    "GET /openapi.json": ("GET", "/openapi.json", {}, b""),
}


@pytest.fixture(params=["single label", "multi-label", "shared"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def watcher(kind: str, served: Any, tmp_path: Path) -> ModelWatcher:
    write = {"single label": served.write, "multi-label": served.write_several, "shared": served.write_shared}
    return ModelWatcher(FolderSource(write[kind](tmp_path)), 1)


def test_answers_equal_the_recorded_ones(kind: str, watcher: ModelWatcher) -> None:
    without = {case: answered(request, watcher, None) for case, request in REQUESTS.items()}
    compare(kind, without)


def test_answers_to_clients_without_the_key_equal_the_recorded_ones(served: Any) -> None:
    watcher = ModelWatcher(FolderSource(served.folder), 1)
    asked = {case: REQUESTS[case] for case in REQUESTS if case == "one text" or " GET " in f" {case}"}
    compare("key not sent", {case: answered(request, watcher, "sesame") for case, request in asked.items()})
    right = {
        case: (method, path, headers | KEY, body) for case, (method, path, headers, body) in asked.items()
    }
    compare("key sent", {case: answered(request, watcher, "sesame") for case, request in right.items()})


def compare(name: str, found: dict[str, Any]) -> None:
    """Compare answers with the recorded ones; if there are none yet, record them and fail."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    if name not in golden:
        golden[name] = found
        parts = [
            f"{json.dumps(kind)}: {{\n"
            + ",\n".join(
                f"{json.dumps(case)}: {json.dumps(answer, ensure_ascii=False)}"
                for case, answer in cases.items()
            )
            + "\n}"
            for kind, cases in golden.items()
        ]
        GOLDEN.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
        pytest.fail(
            f"golden_answers.json had no answers named {name}; they are recorded now, run the test again"
        )
    assert found.keys() == golden[name].keys()
    for case, answer in found.items():
        assert answer == golden[name][case], case


def answered(request: Request, watcher: ModelWatcher, key: str | None) -> dict[str, Any]:
    """Send a request to a new server. Return what is compared of its answer."""
    limits, metrics = Limits(max_texts=3, max_characters=80, max_body=2000, max_candidates=15), Metrics()
    batcher = Batcher(2, 64, limits.max_queue, metrics.batches.observe)
    method, path, headers, content = request
    try:
        with TestClient(
            create_app(watcher, batcher, metrics, limits, key), raise_server_exceptions=False
        ) as client:
            return recorded(client.request(method, path, headers=headers, content=content), watcher)
    finally:
        batcher.close()


def recorded(answer: Any, watcher: ModelWatcher) -> dict[str, Any]:
    """Return what is compared of an answer."""
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    body: Any = None
    if headers.get("content-type", "").startswith("text/plain"):
        body = [line for line in answer.text.splitlines() if line.startswith("# TYPE")] or answer.text
    elif headers.get("content-type") == "application/json" and answer.content:
        body = answer.json()
        body = described(body, body) if "openapi" in body else stable(body, watcher)
    return {"status": answer.status_code, "headers": headers, "body": body}


def stable(tree: Any, watcher: ModelWatcher) -> Any:
    """Return a body with rounded floats, and with versions, times and file hashes replaced."""
    if isinstance(tree, dict):
        return {
            name: "a time"
            if (name == "checked" and value) or name == "milliseconds"
            else dict.fromkeys(value, "a hash")
            if name == "files"
            else "words"
            if name == "paths"
            else stable(value, watcher)
            for name, value in tree.items()
        }
    if isinstance(tree, list):
        return [stable(value, watcher) for value in tree]
    if isinstance(tree, float):
        return round(tree, 4)
    return "the version" if tree in (watcher.current.version, tokensieve.__version__) else tree


def described(tree: Any, document: Any) -> Any:
    """Return an OpenAPI document without texts, with all references resolved."""
    if isinstance(tree, list):
        return [described(value, document) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if "$ref" in tree:
        return described(document["components"]["schemas"][tree["$ref"].rsplit("/", 1)[1]], document)
    fields = tree.get("properties", {})
    return {
        name: {field: described(fields[field], document) for field in fields}
        if name == "properties"
        else described(value, document)
        for name, value in tree.items()
        if not (name in WORDS and isinstance(value, str)) and name not in ("info", "components")
    }
