"""Registries that are broken, slow, endless or hostile, each a real server on loopback."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tokensieve import packages
from tokensieve.errors import InputError
from tokensieve.inference.manifest import Manifest
from tokensieve.registry import mlflow_rest
from tokensieve.registry.mlflow_process import MlflowProcess
from tokensieve.registry.models import RegisteredModel
from tokensieve.registry.store import RegistryError

Answer = Callable[[Any], None]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], str]]:
    """Start a server that gives one answer to everything; call it for the address."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    started = []

    def start(answer: Answer) -> str:
        handler = type(
            "Handler",
            (http.server.BaseHTTPRequestHandler,),
            {"do_GET": answer, "log_message": lambda *_: None},
        )
        running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        started.append(running)
        return f"http://127.0.0.1:{running.server_port}"

    yield start
    for running in started:
        running.shutdown()
        running.server_close()


def respond(request: Any, body: bytes, status: int = 200, length: int | None = None) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    request.end_headers()
    request.wfile.write(body)


def model(whole: Path, version: str = "1", location: str = "mlflow-artifacts:/m", **fields: Any) -> Answer:
    """Answer as MLflow does whose model m has one version, the champion, with the files of folder
    `whole`.
    """

    def answer(request: Any) -> None:
        if "/registered-models/get?" in request.path:
            aliases = [{"alias": "champion", "version": version}]
            respond(request, json.dumps({"registered_model": {"name": "m", "aliases": aliases}}).encode())
        elif "/model-versions/get?" in request.path:
            tree = {"run_id": "0123456789abcdef", "creation_timestamp": "1"} | fields
            respond(request, json.dumps({"model_version": tree}).encode())
        elif "/get-download-uri" in request.path:
            respond(request, json.dumps({"artifact_uri": location}).encode())
        else:
            path = whole / Path(request.path).name
            respond(request, path.read_bytes()) if path.exists() else respond(request, b"{}", 404)

    return answer


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder that a registry may hand out."""
    folder = tmp_path / "whole"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights" * 100)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    Manifest(("card", "transfer"), 1.0, 0.5, 16, "hash", "tiny", {"texts": 4}).save(folder)
    return folder


def of(address: str, into: Path, reference: str = "@champion") -> RegisteredModel:
    return RegisteredModel(f"models:/m{reference}", address, into)


VERSIONS = (
    "x/../../../../victim",
    "../victim",
    "1/../../victim",
    "..",
    "",
    "1\n",
    "01",
    "-1",
    "1e3",
    "¹",
    "latest",
)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_is_a_number(
    version: str, whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("kept", encoding="utf-8")
    registry = of(server(model(whole, version)), tmp_path / "project" / ".tokensieve" / "served")
    with pytest.raises(
        RegistryError, match=r"is not a number.*; check that the address is an MLflow server's"
    ):
        registry.version()
    with pytest.raises(RegistryError, match="is not a number"):
        registry.fetch(version)
    assert [path.name for path in victim.iterdir()] == ["precious"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["victim", "whole"]


@pytest.mark.parametrize(
    "changed",
    [
        {"files": {"../../../escaped": "0" * 64}},
        {"files": {"/tmp/escaped": "0" * 64}},
        {"files": {"model.onnx": "0" * 64, "a/../../b": "0" * 64}},
        {"files": {f"{number}.bin": "0" * 64 for number in range(101)}},
        {"files": ["../escaped"]},
    ],
)
def test_a_manifest_names_files_of_its_folder(
    changed: dict[str, Any], whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    path = whole / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changed), encoding="utf-8")
    with pytest.raises(InputError, match="export the model again"):
        of(server(model(whole)), tmp_path / "served").fetch("1")
    assert list((tmp_path / "served").iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"{",
        b"\xff",
        b'{"format": 3}',
        b"null",
        b'{"format": 3, "files": 7}',
        b"0" * (2**24 + 1),
    ],
)
def test_an_odd_manifest_is_refused(
    content: bytes, whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    (whole / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json .*export the model again"):
        of(server(model(whole)), tmp_path / "served").fetch("1")


def test_long_names_are_shortened(whole: Path, tmp_path: Path, server: Callable[[Answer], str]) -> None:
    address = server(model(whole))
    folders = {
        RegisteredModel(f"models:/{'ö' * 250}{end}/1", address, tmp_path / "served").fetch("1")
        for end in "ab"
    }
    assert len({folder.name for folder in folders}) == 2


@pytest.mark.parametrize(
    "tree",
    [
        {"registered_model": []},
        {"registered_model": {"aliases": 7}},
        {"registered_model": {"aliases": [7]}},
        {"registered_model": {"aliases": [{"alias": 7, "version": "1"}]}},
        {"registered_model": {"aliases": [{"alias": "champion"}]}},
        {"registered_model": {"aliases": [{"alias": "champion", "version": {}}]}},
    ],
)
def test_malformed_aliases(tree: Any, tmp_path: Path, server: Callable[[Answer], str]) -> None:
    address = server(lambda request: respond(request, json.dumps(tree).encode()))
    with pytest.raises(RegistryError, match="check that the address is an MLflow server's"):
        of(address, tmp_path).version()


@pytest.mark.parametrize(
    "fields", [{"run_id": 7}, {"creation_timestamp": "soon"}, {"creation_timestamp": None}]
)
def test_malformed_versions(
    fields: dict[str, Any], whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    with pytest.raises(RegistryError, match="the version it returns is malformed"):
        of(server(model(whole, **fields)), tmp_path / "served").fetch("1")


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b"7", b'"text"', b"{" + b'"a":1,' * 3_000_000 + b'"b":1}'],
    ids=["deep", "7", "text", "huge"],
)
def test_malformed_json(body: bytes, tmp_path: Path, server: Callable[[Answer], str]) -> None:
    with pytest.raises(RegistryError, match="gives no answer: "):
        of(server(lambda request: respond(request, body)), tmp_path).version()


def drip(request: Any, head: bytes, seconds: float = 20.0) -> None:
    """Send a byte at a time, so that no single read times out."""
    ends = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        request.wfile.write(head)
        while time.monotonic() < ends:
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"],
    ids=["head", "body"],
)
def test_an_answer_that_drips_has_a_deadline(
    head: bytes, tmp_path: Path, server: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_rest, "LOOKUP", 1.0)
    address = server(lambda request: drip(request, head))
    began = time.monotonic()
    with pytest.raises(RegistryError, match=r"gives no answer: .*(took too long|timed out)"):
        of(address, tmp_path).version()
    assert time.monotonic() - began < 10


def test_a_file_that_drips_has_a_deadline(
    whole: Path, tmp_path: Path, server: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_rest, "DOWNLOAD", 1.0)
    known = model(whole)

    def answer(request: Any) -> None:
        if request.path.endswith("model.onnx"):
            drip(request, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        else:
            known(request)

    with pytest.raises(RegistryError, match=r"took too long|timed out"):
        of(server(answer), tmp_path / "served").fetch("1")
    assert list((tmp_path / "served").iterdir()) == []


def test_pages_end(tmp_path: Path, server: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(request: Any) -> None:
        asked.append(request.path)
        if "/search?" in request.path:
            respond(
                request,
                json.dumps(
                    {"registered_models": [{"name": "n"}], "next_page_token": str(len(asked))}
                ).encode(),
            )
        else:
            respond(request, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}', 404)

    with pytest.raises(RegistryError, match="it has more than 100 pages"):
        of(server(answer), tmp_path).version()
    assert len(asked) == 101


def test_files_have_a_size(
    whole: Path, tmp_path: Path, server: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_rest, "FILE", 2**20)
    known, sent = model(whole), []

    def answer(request: Any) -> None:
        if not request.path.endswith("model.onnx"):
            known(request)
            return
        request.send_response(200)  # without a length: the server ends it
        request.end_headers()
        for _ in range(1000):
            request.wfile.write(bytes(2**16))
            sent.append(2**16)

    with pytest.raises(InputError, match=r"model\.onnx in the registry is larger than"):
        of(server(answer), tmp_path / "served").fetch("1")
    assert sum(sent) < 2**25
    monkeypatch.undo()
    for length, message in ((2**60, "allowed: 34,359,738,368"), (2**35, "has room for .* free some space")):

        def large(request: Any, length: int = length) -> None:
            respond(request, b"", length=length) if request.path.endswith("model.onnx") else known(request)

        monkeypatch.setattr(mlflow_rest.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2**34}))
        with pytest.raises(InputError, match=message):
            of(server(large), tmp_path / "served").fetch("1")


# Credentials.


@pytest.mark.parametrize("scheme", ["mlflow-artifacts", "http"])
def test_another_host_gets_no_credentials(
    scheme: str, whole: Path, tmp_path: Path, server: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".mlflow").mkdir(parents=True)
    (home / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username=u\nmlflow_tracking_password=p\n", encoding="utf-8"
    )
    seen: list[Any] = []

    def other(request: Any) -> None:
        seen.append((request.path, request.headers.get("Authorization")))
        respond(request, b"{}", 401)

    elsewhere_address = server(other)
    host = elsewhere_address.removeprefix("http://")
    location = (
        f"{scheme}://{host}/api/2.0/mlflow-artifacts/artifacts/m"
        if scheme == "http"
        else f"{scheme}://{host}/m"
    )
    address = server(model(whole, location=location))
    monkeypatch.setenv("HOME", str(home))
    for environment in ({}, {"TOKEN": "secret"}, {"USERNAME": "me", "PASSWORD": "secret"}):
        for name, value in environment.items():
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("http://", "http://me:secret@"))
        with pytest.raises(InputError, match="401"):
            of(address.replace("http://", "http://me:secret@"), tmp_path / "served").fetch("1")
    assert seen
    assert {credentials for _, credentials in seen} == {None}


def test_files_of_another_server_are_fetched_from_it(
    whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    other = server(model(whole)).removeprefix("http://")
    folder = of(server(model(tmp_path, location=f"mlflow-artifacts://{other}/m")), tmp_path / "served").fetch(
        "1"
    )
    assert Manifest.load(folder).labels == ("card", "transfer")


def test_a_child_process_without_output_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\ncat > /dev/null\necho nothing\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(packages.sys, "executable", str(program))
    with pytest.raises(RegistryError, match="the answer it returns is malformed"):
        MlflowProcess("postgresql://me:secret@host/db").aliases("m")


# What is kept for the time when the registry is down.


def test_the_fetched_version_is_used_while_the_registry_is_down(
    whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    down = threading.Event()
    known = model(whole, "7")
    address = server(lambda request: respond(request, b"", 503) if down.is_set() else known(request))
    first = of(address, tmp_path / "served")
    folder = first.fetch(first.version())
    assert first.stale is None
    down.set()
    for reference in ("@champion", "/7"):
        again = of(address, tmp_path / "served", reference)
        assert again.version() == "7"
        assert again.fetch("7") == folder
        assert "version 7 of model 'm' is the last one known and was fetched earlier: MLflow at" in str(
            again.stale
        )
        assert again.version() == "7"
        assert again.stale
    for address_or_alias in (
        of(address, tmp_path / "served", "@challenger"),
        of(address, tmp_path / "elsewhere"),
    ):
        with pytest.raises(RegistryError, match="503"):
            address_or_alias.version()
    with pytest.raises(RegistryError, match="503"):
        of(address, tmp_path / "served", "/8").fetch("8")
    with pytest.raises(RegistryError, match="gives no answer"):
        of("http://127.0.0.1:1", tmp_path / "served").version()
    # A folder that was changed since is not served.
    (folder / "model.onnx").write_bytes(b"changed")
    with pytest.raises(InputError, match="is not the file that"):
        of(address, tmp_path / "served", "/7").fetch("7")
    down.clear()
    assert again.version() == "7"
    assert again.stale is None
    Manifest.load(folder)


def test_a_folder_that_cannot_be_written_is_named(
    whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    (tmp_path / "served").write_text("a file", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"a model of the registry cannot be kept in .*served \(.*\); make it writable"
    ):
        of(server(model(whole)), tmp_path / "served").fetch("1")


@pytest.mark.parametrize("limit", [10, 200])
def test_a_full_disk_is_named(
    limit: int, whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    limited = (
        "import resource as r, sys; from tokensieve.cli.main import main; "
        f"r.setrlimit(r.RLIMIT_FSIZE, ({limit},) * 2); sys.exit(main())"
    )
    command = [sys.executable, "-c", limited, "predict", "--model", "models:/m@champion", "text"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": server(model(whole))}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert re.search(r"cannot be kept in .*served \(File too large\); free some space", done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert list((tmp_path / ".tokensieve" / "served").iterdir()) == []


@pytest.mark.parametrize("version", ["x/../../../../victim", "../victim", "-1", -1, None, "\udcff"])
def test_a_version_in_a_database_is_a_number_too(
    version: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"tables")
    found = {
        "models": ["m"],
        "experiments": {},
        "aliases": {"champion": version},
        "versions": {"1": {"run_id": 7, "location": None, "created": "soon"}},
    }
    monkeypatch.setattr(MlflowProcess, "_ask", lambda *_: found)
    for reference in ("@champion", "/1"):
        registry = of(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "served", reference)
        with pytest.raises(RegistryError, match=r"is not a number|it returns is malformed"):
            registry.fetch(registry.version())
    assert [path for path in (tmp_path / "served").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    "noted",
    ["{}", "[" * 100_000, '{"version": "1", "folder": "../../victim"}', '{"version": "..", "folder": "x"}'],
)
def test_what_was_noted_is_checked(
    noted: str, whole: Path, tmp_path: Path, server: Callable[[Answer], str]
) -> None:
    down = threading.Event()
    known = model(whole)
    address = server(lambda request: respond(request, b"", 503) if down.is_set() else known(request))
    registry = of(address, tmp_path / "served")
    registry.fetch(registry.version())
    down.set()
    for path in (tmp_path / "served").glob(".known-*"):
        path.write_text(noted, encoding="utf-8")
    with pytest.raises(RegistryError, match="503"):
        of(address, tmp_path / "served").version()
    down.clear()
    assert registry.version() == "1"
