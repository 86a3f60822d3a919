"""The true reason when a model cannot be fetched, from a real client against a real socket."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tokensieve.model import hub

PROGRAM = """
from tokensieve.model import hub
try:
    print(hub.download("acme/private"))
except Exception as error:
    print(hub.failure_reason(error))
"""


def message(tmp_path: Path, **variables: str) -> str:
    """What a process of its own says of a model that only the hub can have: the client reads its
    variables once.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.upper().endswith("_PROXY") and not key.startswith("HF_")
    }
    environment = kept | {"HF_HOME": str(tmp_path / "hf"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout


class Hub(BaseHTTPRequestHandler):
    """Answers every request as the hub does for a model that may not be read."""

    status, code = 401, "RepoNotFound"

    def do_GET(self) -> None:
        body = json.dumps({"error": "Invalid username or password."}).encode()
        self.send_response(self.status)
        self.send_header("X-Error-Code", self.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.timeout(300)
def test_offline_with_an_empty_cache(tmp_path: Path) -> None:
    told = message(tmp_path, HF_HUB_OFFLINE="1")
    assert (
        f"it is not in the cache {tmp_path / 'hf' / 'hub'}, and HF_HUB_OFFLINE forbids the download; "
        "unset it once" in told
    )


@pytest.mark.timeout(300)
def test_a_proxy_that_is_down(tmp_path: Path) -> None:
    told = message(tmp_path, HTTPS_PROXY="http://user:secret@127.0.0.1:9")
    assert "https://huggingface.co cannot be reached through HTTPS_PROXY=http://127.0.0.1:9: " in told
    assert "secret" not in told


@pytest.mark.timeout(300)
def test_a_private_model_with_and_without_a_token(tmp_path: Path, endpoint: str) -> None:
    assert "if it is private, set HF_TOKEN to a token that may read it" in message(
        tmp_path, HF_ENDPOINT=endpoint
    )
    assert "(status 401); check the name; HF_TOKEN may lack the right" in message(
        tmp_path, HF_ENDPOINT=endpoint, HF_TOKEN="hf_nothing"
    )


@pytest.mark.timeout(300)
def test_a_gated_model(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "status", 403)
    monkeypatch.setattr(Hub, "code", "GatedRepo")
    assert "it is gated; accept its terms on its page, and set HF_TOKEN" in message(
        tmp_path, HF_ENDPOINT=endpoint
    )


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk of /cache is full. Free some space, or set HF_HOME"),
        (errno.EACCES, "/cache is not writable. Set HF_HOME"),
    ],
)
def test_a_disk_that_takes_nothing_is_found_among_the_causes(number: int, words: str) -> None:
    outer = RuntimeError("download failed")
    outer.__cause__ = OSError(number, os.strerror(number), "/cache")
    assert words in hub.failure_reason(outer)


def test_invalid_and_unknown_names_are_refused() -> None:
    from huggingface_hub.errors import HFValidationError

    assert "neither a folder nor a name of the form owner/model" in hub.failure_reason(
        HFValidationError("a/b/c")
    )
    assert hub.failure_reason(ValueError("odd\nthing")) == "ValueError: 'odd thing'"
