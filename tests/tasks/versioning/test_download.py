"""Files from a real HTTP server: formats, reasons of failures, and what must not be written
down.
"""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tasks.versioning.download import FetchError, fetch, hidden, public, revealed
from tokensieve.errors import InputError

CSV = b"text,label\none,a\n"
# What the server sends by path: status, headers, body.
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/texts.csv": (200, {"Content-Type": "application/octet-stream"}, CSV),
    "/export": (200, {"Content-Type": "application/octet-stream"}, CSV),
    "/typed": (200, {"Content-Type": "text/csv; charset=utf-8"}, CSV),
    "/named": (200, {"Content-Disposition": "attachment; filename*=UTF-8''exp%C3%B6rt.TSV"}, CSV),
    "/login.csv": (200, {"Content-Type": "text/html"}, b"<!doctype html><title>Log in</title>"),
    "/moved": (302, {"Location": "/files/export.jsonl"}, b""),
    "/files/export.jsonl": (200, {}, b"{}\n"),
    "/short.csv": (200, {"Content-Length": "1000"}, CSV),
    "/busy.csv": (503, {}, b""),
    "/odd.csv": (451, {}, b""),
    "/unknown.csv": (499, {}, b""),
    "/denied.csv": (403, {}, b""),
    "/private.csv": (401, {}, b""),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        status, headers, body = ANSWERS.get(path, (404, {}, b""))
        if (
            path == "/private.csv"
            and self.headers.get("Authorization") == "Basic " + base64.b64encode(b"user:secret").decode()
        ):
            status, body = 200, CSV
        self.send_response(
            status, "\x1b[31m red at 12:00:01" if path in ("/odd.csv", "/unknown.csv") else None
        )
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/texts.csv", "data.csv"),
        ("/export?format=csv", "data.csv"),
        ("/export?file=all%2Ftickets.JSONL", "data.jsonl"),
        ("/typed", "data.csv"),
        ("/named", "data.tsv"),
        ("/moved", "data.jsonl"),
    ],
)
def test_the_format_comes_from_the_name_the_query_or_the_type(
    server: str, address: str, name: str, tmp_path: Path
) -> None:
    found = fetch(f"http://{server}{address}", tmp_path, "--data")
    assert found == tmp_path / name
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_setting_gives_a_format_that_cannot_be_detected(server: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"--data http://.*/export: neither .*application/octet-stream.* set data.format to one of csv",
    ):
        fetch(f"http://{server}/export", tmp_path, "--data")
    assert fetch(f"http://{server}/export", tmp_path, "--data", "csv").read_bytes() == CSV


@pytest.mark.parametrize(
    ("path", "words", "passing"),
    [
        ("/none.csv", "the server responded with 404 Not Found", False),
        ("/denied.csv", "the server responded with 403 Forbidden; put user and password", False),
        ("/private.csv", "the server responded with 401 Unauthorized; put user and password", False),
        ("/odd.csv", "the server responded with 451 Unavailable For Legal Reasons$", False),
        ("/unknown.csv", "the server responded with 499$", False),
        ("/busy.csv", "the server responded with 503 Service Unavailable", True),
        ("/login.csv", "is a web page, not a file", False),
        ("/short.csv", "the connection before the file was complete", True),
    ],
)
def test_the_error_has_the_reason_of_the_failure(
    server: str, path: str, words: str, passing: bool, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        fetch(f"http://someone:hidden@{server}{path}?token=hidden", tmp_path, "--data")
    assert isinstance(caught.value, FetchError) == passing
    assert "hidden" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_server_and_an_unknown_host_are_named_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # no way to this machine itself
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError, match="could not be fetched: connection refused"):
            fetch(f"http://127.0.0.1:{closed.getsockname()[1]}/x.csv?token=hidden", tmp_path, "--data")
    monkeypatch.delenv("http_proxy")
    with pytest.raises(FetchError, match="the name of the host is not known"):
        fetch("http://nowhere.invalid/x.csv", tmp_path, "--data")


def test_user_and_password_of_the_address_are_used(server: str, tmp_path: Path) -> None:
    assert fetch(f"http://user:secret@{server}/private.csv", tmp_path, "--data").read_bytes() == CSV


def test_what_is_shown_of_an_address_hides_its_secrets() -> None:
    assert public("https://user:secret@host/a.csv?token=x#y") == "https://host/a.csv"
    assert public("a/b@c?.csv") == "a/b@c?.csv"


def test_an_address_is_found_again_under_a_name_without_its_secrets() -> None:
    addresses = [
        "https://user:secret@host/a?token=x&part=train",
        "https://user:secret@host/a?token=x&part=test",
        "https://host/b.csv",
        "c.csv",
    ]
    names = [hidden(address) for address in addresses]
    assert len(set(names)) == 4
    assert not [name for name in names if "secret" in name or "token" in name]
    assert [revealed(name) for name in names] == addresses
    assert names[2:] == addresses[2:]


def test_an_address_may_name_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_TOKEN", "secret")
    assert revealed("https://host/texts.csv?token=${DATA_TOKEN}") == "https://host/texts.csv?token=secret"
    assert revealed("https://host/texts.csv?$filter=a") == "https://host/texts.csv?$filter=a"
    with pytest.raises(InputError, match="set the environment variable OTHER_TOKEN"):
        revealed("https://host/${OTHER_TOKEN}/texts.csv")
