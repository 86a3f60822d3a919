"""Following a registry, against MLflow itself: one server and one SQLite file a module, each test
with models of its own.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from tests.ports import free_port
from tokensieve.errors import InputError
from tokensieve.files import sha256
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.registry import download, http_deadline, mlflow_process
from tokensieve.registry.model_folders import UNUSED
from tokensieve.registry.models import RegisteredModel
from tokensieve.registry.store import RegistryError

FILES = ["manifest.json", "model.onnx", "tokenizer.json"]


class Model:
    """A registered model of one test, in the registry at `uri`; its folders are under `folder`."""

    def __init__(self, uri: str, name: str, folder: Path) -> None:
        self.uri, self.name, self.folder = uri, name, folder
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.client.create_registered_model(name)
        self.experiment = self.client.create_experiment(
            name, None if uri.startswith("http") else (folder / "runs").as_uri()
        )
        self.runs: list[str] = []

    def add(self, temperature: float = 1.0, **changed: bytes) -> str:
        """Register one more version; `changed` holds other bytes for files that the manifest has
        hashed already.
        """
        run = self.client.create_run(self.experiment)
        source = self.folder / f"source-{len(self.runs)}"
        served(source / "data" / "onnx", temperature, changed)
        self.client.log_artifacts(run.info.run_id, str(source), "model")
        self.runs.append(run.info.run_id)
        return str(
            self.client.create_model_version(
                self.name, f"{run.info.artifact_uri}/model", run.info.run_id
            ).version
        )

    def at(self, reference: str, tracking: str | None = None) -> RegisteredModel:
        return RegisteredModel(
            f"models:/{self.name}{reference}", tracking or self.uri, self.folder / "served"
        )


def served(folder: Path, temperature: float, changed: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights" * 1000)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    Manifest(("card", "transfer"), temperature, 0.5, 16, "hash", "tiny", {"texts": 4}).save(folder)
    for name, content in changed.items():
        (folder / {"manifest": "manifest.json", "model": "model.onnx"}[name]).write_bytes(content)


def shown(folder: Path) -> list[str]:
    """Return the names in a folder without those of hidden files, which keep answers of the
    registry.
    """
    return sorted(
        path.name for path in folder.iterdir() if not path.name.startswith((".known-", ".registry-"))
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server that hands out the artifacts itself."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    stores = [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *stores,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address, process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            with urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.2)
    pytest.fail(f"no server after two minutes: {log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('database')}/mlflow.db"


@pytest.fixture
def tiny(request: pytest.FixtureRequest) -> Path:
    """A model folder that predicts; `served` of this file only writes files."""
    return Path(request.getfixturevalue("served").folder)


@pytest.fixture
def model(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """An empty model behind a server, or with the parameter "database" in an SQLite file."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    name = request.node.name.replace("[", " ").replace("]", "")
    return Model(request.getfixturevalue(getattr(request, "param", "server")), name, tmp_path)


@pytest.mark.parametrize("model", ["database", "server"], indirect=True)
def test_a_registry_is_followed_without_mlflow(model: Model) -> None:
    first = model.add(1.0)
    second = model.add(2.0)
    model.client.set_registered_model_alias(model.name, "champion", first)
    followed = model.at("@champion")
    assert followed.version() == first
    one = followed.fetch(followed.version())
    model.client.set_registered_model_alias(model.name, "champion", second)
    assert followed.version() == second
    two = followed.fetch(second)
    assert [Manifest.load(folder).temperature for folder in (one, two)] == [1.0, 2.0]
    names = [
        f"{model.name}-{version}-{run[:8]}" for version, run in zip((first, second), model.runs, strict=True)
    ]
    assert [folder.name for folder in (one, two)] == names
    # There is no other file next to them, and only listed files are in them.
    assert shown(one.parent) == sorted(names)
    assert sorted(path.name for path in one.iterdir()) == FILES
    assert followed.interval <= 5

    program = (
        "import sys; from pathlib import Path; from tokensieve.registry.models import RegisteredModel\n"
        f"found = RegisteredModel('models:/{model.name}@champion', {model.uri!r}, "
        f"Path({str(model.folder / 'other')!r}))\nfound.fetch(found.version()); print(*sorted(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"mlflow", "torch", "requests", "sqlalchemy", "numpy", "filelock"} & set(loaded)
    assert (model.folder / "other" / names[1] / "manifest.json").exists()


def test_a_predictor_is_loaded_by_the_name_of_a_registered_model(
    model: Model, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = model.add()
    source = model.folder / "source-0" / "data" / "onnx"
    shutil.rmtree(source)
    shutil.copytree(tiny, source)
    model.client.log_artifacts(model.runs[0], str(source.parent.parent), "model")
    model.client.set_registered_model_alias(model.name, "champion", version)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", model.uri)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for reference in ("@champion", f"/{version}"):
        predictor = Predictor.load(f"models:/{model.name}{reference}", threads=1)
        assert predictor.predict(["I lost my card"]) == Predictor.load(tiny, 1).predict(["I lost my card"])
    with pytest.raises(InputError, match="has no alias 'other'; aliases: champion"):
        Predictor.load(f"models:/{model.name}@other")


@pytest.mark.parametrize("model", ["database", "server"], indirect=True)
def test_what_is_not_there_is_named_with_what_is(model: Model) -> None:
    with pytest.raises(InputError, match="has no alias 'champion'; aliases: none; versions: none"):
        model.at("@champion").version()
    for _ in range(2):
        model.add()
    model.client.set_registered_model_alias(model.name, "challenger", "2")
    with pytest.raises(
        InputError, match=r"has no alias 'champion'; aliases: challenger \(2\); versions: 1, 2"
    ):
        model.at("@champion").version()
    with pytest.raises(InputError, match=f"model '{model.name}' has no version '3'; versions: 1, 2"):
        model.at("/3").fetch("3")
    other = RegisteredModel("models:/nowhere@champion", model.uri, model.folder)
    for ask in (other.version, lambda: other.fetch("1")):
        with pytest.raises(InputError, match=f"no model 'nowhere' in the registry; models: .*{model.name}"):
            ask()
    assert not (model.folder / "served").exists() or shown(model.folder / "served") == []


@pytest.mark.parametrize(
    "address",
    ["models:/m", "m", "models:/m/", "models:/m@", "models:/a/b@c", "models:/m/01", "models:/m/latest"],
)
def test_what_names_no_version_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="names no model version; give models:/NAME@champion or models:/NAME/VERSION"
    ):
        RegisteredModel(address, "sqlite:///absent.db", tmp_path)


def test_a_pinned_version_is_asked_for_when_it_is_fetched(tmp_path: Path) -> None:
    pinned = RegisteredModel("models:/classifier/7", f"sqlite:///{tmp_path}/absent.db", tmp_path)
    assert pinned.version() == "7"
    with pytest.raises(InputError, match=r"absent\.db does not exist; run tokensieve run first"):
        pinned.fetch("7")
    assert list(tmp_path.iterdir()) == []


def test_an_alias_that_vanishes_and_a_version_that_is_deleted(model: Model) -> None:
    version = model.add()
    model.client.set_registered_model_alias(model.name, "champion", version)
    followed = model.at("@champion")
    folder = followed.fetch(followed.version())
    model.client.delete_model_version(model.name, version)
    with pytest.raises(InputError, match="has no alias 'champion'; aliases: none; versions: none"):
        followed.version()
    with pytest.raises(InputError, match="has no version '1'; versions: none"):
        followed.fetch("1")
    Manifest.load(folder)  # what is served stays


def test_a_whole_folder_is_not_fetched_again_and_a_broken_one_is(model: Model) -> None:
    pinned = model.at(f"/{model.add()}")
    folder = pinned.fetch("1")
    before = (folder / "model.onnx").stat().st_mtime_ns
    assert pinned.fetch("1") == folder
    assert (folder / "model.onnx").stat().st_mtime_ns == before
    (folder / "model.onnx").write_bytes(b"cut off")
    (folder / "stray").touch()
    assert pinned.fetch("1") == folder
    Manifest.load(folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_folders_that_nobody_asks_for_any_more_are_deleted(model: Model) -> None:
    folders = [model.at(f"/{model.add()}").fetch(str(version)) for version in (1, 2, 3)]
    week = time.time() - UNUSED
    for folder, age in zip(folders, (week - 60, week - 60, week + 3600), strict=True):
        os.utime(folder, (age, age))
    assert model.at("/2").fetch("2") == folders[1]
    assert [folder.exists() for folder in folders] == [False, True, True]
    assert model.at("/1").fetch("1") == folders[0]
    assert folders[0].exists()


def test_a_broken_version_is_refused_and_leaves_nothing(model: Model) -> None:
    model.add(model=b"cut off")
    model.add(manifest=b"not json")
    model.add(manifest=json.dumps({"format": 2, "files": {"../../../escaped": "00"}}).encode())
    model.add(manifest=json.dumps({"format": 2, "files": {"/tmp/escaped": "00"}}).encode())
    for version, message in {
        "1": r"model\.onnx is not the file that manifest\.json lists",
        "2": r"manifest\.json is not JSON",
        "3": r"manifest\.json in the registry lists '../../../escaped', which is no file of its folder",
        "4": r"lists '/tmp/escaped'",
    }.items():
        with pytest.raises(InputError, match=message):
            model.at(f"/{version}").fetch(version)
    assert list((model.folder / "served").iterdir()) == []


def test_a_version_without_a_served_folder_is_named(model: Model) -> None:
    run = model.client.create_run(model.experiment)
    model.client.create_model_version(model.name, f"{run.info.artifact_uri}/other", run.info.run_id)
    with pytest.raises(
        InputError, match=f"version 1 of model '{model.name}' has no manifest.json: its files were moved"
    ):
        model.at("/1").fetch("1")


def test_a_registry_made_anew_is_not_answered_with_an_old_folder(tmp_path: Path, database: str) -> None:
    old = Model(database, "anew", tmp_path / "a")
    old.add(1.0)
    first = old.at("/1").fetch("1")
    old.client.delete_registered_model("anew")
    old.client.create_registered_model("anew")
    run = old.client.create_run("0")
    served(tmp_path / "b" / "data" / "onnx", 2.0, {})
    old.client.create_model_version("anew", str(tmp_path / "b"), run.info.run_id)
    second = old.at("/1").fetch("1")
    assert (Manifest.load(first).temperature, Manifest.load(second).temperature) == (1.0, 2.0)


@pytest.mark.parametrize("model", ["database", "server"], indirect=True)
def test_a_version_of_a_model_that_is_made_anew_has_another_identity(model: Model) -> None:
    followed = model.at("@champion")
    identities = []
    for temperature in (1.0, 2.0):
        model.client.set_registered_model_alias(model.name, "champion", model.add(temperature))
        assert followed.version() == "1"
        identities.append(followed.identity("1"))
        assert followed.fetch("1").name == followed.identity("1") == identities[-1]
        model.client.delete_registered_model(model.name)
        with pytest.raises(InputError, match="no model "):
            followed.identity("1")
        model.client.create_registered_model(model.name)
    assert len(set(identities)) == 2


def test_a_version_that_no_run_made_has_a_folder_of_its_own(tmp_path: Path, database: str) -> None:
    names = ["a b", "a_b", "a-1", "a\\b", "~"]
    served(tmp_path / "source" / "data" / "onnx", 1.0, {})
    client = MlflowClient(tracking_uri=database, registry_uri=database)
    folders = set()
    for name in names:
        client.create_registered_model(name)
        client.create_model_version(name, str(tmp_path / "source"))
        folders.add(RegisteredModel(f"models:/{name}/1", database, tmp_path / "served").fetch("1"))
    assert {folder.parent for folder in folders} == {tmp_path / "served"}
    assert sorted(folder.name[:-9] for folder in folders) == sorted(
        ["a b-1", "a_b-1", "a-1-1", "a%5Cb-1", "~-1"]
    )
    assert all(len(folder.name.rsplit("-", 1)[1]) == 8 for folder in folders)


def test_of_two_downloads_at_once_the_first_stays(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.add()
    first = model.folder / "served" / f"{model.name}-1-{model.runs[0][:8]}"
    listed = download._listed_files

    def meanwhile(path: Path) -> list[str]:
        shutil.copytree(model.folder / "source-0" / "data" / "onnx", first)
        (first / "first").touch()
        return listed(path)

    monkeypatch.setattr(download, "_listed_files", meanwhile)
    assert model.at("/1").fetch("1") == first
    assert (first / "first").exists()
    assert shown(first.parent) == [first.name]


def test_a_file_that_is_no_registry_and_an_old_schema_are_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(RegistryError, match=r"mlflow\.db gives no answer: .*file is not a database"):
        RegisteredModel("models:/m@champion", f"sqlite:///{tmp_path}/mlflow.db", tmp_path).version()
    (tmp_path / "mlflow.db").write_bytes(b"")
    with pytest.raises(RegistryError, match="gives no answer: 'the file is empty'; register a model first"):
        RegisteredModel("models:/m@champion", f"sqlite:///{tmp_path}/mlflow.db", tmp_path).version()
    assert (tmp_path / "mlflow.db").read_bytes() == b""


# What a server may do to a client.


@pytest.fixture
def answering() -> Iterator[Callable[[Callable[[Any], None]], str]]:
    """Starts a server of one answer to everything; returns its address."""
    started = []

    def start(answer: Callable[[Any], None]) -> str:
        handler = type(
            "Handler",
            (http.server.BaseHTTPRequestHandler,),
            {"do_GET": answer, "log_message": lambda *_: None},
        )
        running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        started.append(running)
        return f"http://127.0.0.1:{running.server_port}"

    yield start
    for running in started:
        running.shutdown()
        running.server_close()


def respond(request: Any, status: int, body: bytes, **headers: str) -> None:
    request.send_response(status)
    for name, value in ({"Content_Length": str(len(body))} | headers).items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def followed(tracking: str, into: Path) -> RegisteredModel:
    return RegisteredModel("models:/m@champion", tracking, into)


def test_a_server_that_goes_away_is_named_at_once_and_without_its_password(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(
        RegistryError, match=r"MLflow at http://127\.0\.0\.1:\d+ gives no answer: .*refused.*; start it"
    ) as caught:
        followed(f"http://me:secret@127.0.0.1:{free_port()}", tmp_path).version()
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, OSError)  # which flows try again
    assert time.monotonic() - started < 5


def test_a_server_that_never_answers_is_not_waited_for(
    tmp_path: Path, answering: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_deadline, "TIMEOUT", 0.5)
    ended = threading.Event()
    address = answering(lambda request: ended.wait(30) or None)
    with pytest.raises(RegistryError, match=r"gives no answer: .*timed out"):
        followed(address, tmp_path).version()
    ended.set()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"<html>a proxy's welcome", "gives no answer: 'JSONDecodeError"),
        (200, b"[]", "ValueError: registered-models/get answers with no object that holds"),
        (
            200,
            b"{}",
            "gives no answer: 'ValueError: registered-models/get answers with no object that holds "
            "registered_model",
        ),
        (404, b"<html>Not Found", "gives no answer: '404 Not Found'"),
        (500, b"{}", "gives no answer: '500 Internal Server Error'"),
        (503, b"", "gives no answer: '503 Service Unavailable'"),
    ],
)
def test_what_is_no_answer_of_mlflow(
    status: int, body: bytes, message: str, tmp_path: Path, answering: Callable[..., str]
) -> None:
    with pytest.raises(RegistryError, match=message):
        followed(answering(lambda request: respond(request, status, body)), tmp_path).version()


@pytest.mark.parametrize("status", [401, 403])
def test_missing_credentials_are_asked_for(
    status: int, tmp_path: Path, answering: Callable[..., str]
) -> None:
    address = answering(lambda request: respond(request, status, b"Invalid Host header"))
    with pytest.raises(
        InputError, match=rf"refuses: {status} 'Invalid Host header'; set MLFLOW_TRACKING_USERNAME"
    ) as caught:
        followed(address, tmp_path).version()
    assert not isinstance(caught.value, RegistryError)  # waiting does not help


@pytest.mark.parametrize(
    ("environment", "inside", "expected"),
    [
        ({}, "", None),
        ({"USERNAME": "me", "PASSWORD": "a:b"}, "", "Basic bWU6YTpi"),
        ({"TOKEN": "t"}, "", "Bearer t"),
        ({"USERNAME": "me", "PASSWORD": "a:b", "TOKEN": "t"}, "", "Basic bWU6YTpi"),
        ({}, "me:a%3Ab@", "Basic bWU6YTpi"),
    ],
)
def test_credentials(
    environment: dict[str, str],
    inside: str,
    expected: str | None,
    tmp_path: Path,
    answering: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    seen = []

    def answer(request: Any) -> None:
        seen.append((request.path, request.headers.get("Authorization")))
        respond(
            request,
            200,
            json.dumps({"registered_model": {"aliases": [{"alias": "champion", "version": "3"}]}}).encode(),
        )

    address = answering(answer).replace("http://", f"http://{inside}") + "/mlflow/"
    assert followed(address, tmp_path).version() == "3"
    assert seen == [("/mlflow/api/2.0/mlflow/registered-models/get?name=m", expected)]


def test_a_redirect_to_another_host_is_not_followed(
    tmp_path: Path, answering: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    reached = []
    other = answering(lambda request: (reached.append(request.path), respond(request, 200, b"{}"))[1])
    address = answering(lambda request: respond(request, 302, b"", Location=f"{other}{request.path}"))
    with pytest.raises(InputError, match=f"redirects to {other}; if that is the registry, set"):
        followed(address, tmp_path).version()
    assert reached == []


def version_at(location: str, content: Callable[[Any], None]) -> Callable[[Any], None]:
    """Answers as a server does whose model m has a version at `location`."""

    def answer(request: Any) -> None:
        if "/model-versions/get?" in request.path:
            respond(
                request, 200, b'{"model_version": {"run_id": "0123456789abcdef", "creation_timestamp": "1"}}'
            )
        elif "/get-download-uri" in request.path:
            respond(request, 200, json.dumps({"artifact_uri": location}).encode())
        else:
            content(request)

    return answer


def test_a_download_cut_off_leaves_nothing(tmp_path: Path, answering: Callable[..., str]) -> None:
    whole = tmp_path / "whole"
    served(whole, 1.0, {})

    def cut_off(request: Any) -> None:
        content = (whole / Path(request.path).name).read_bytes()
        size = {"Content_Length": str(len(content))}
        respond(request, 200, content[:10] if request.path.endswith("model.onnx") else content, **size)

    address = answering(version_at("mlflow-artifacts:/1/r/artifacts/model", cut_off))
    with pytest.raises(RegistryError, match=r"model\.onnx ended after 10 of 7000 bytes"):
        followed(address, tmp_path / "served").fetch("1")
    assert list((tmp_path / "served").iterdir()) == []


def test_a_run_id_does_not_lead_out_of_the_folder(tmp_path: Path, answering: Callable[..., str]) -> None:
    whole = tmp_path / "whole"
    served(whole, 1.0, {})

    def answer(request: Any) -> None:
        if "/model-versions/get?" in request.path:
            respond(request, 200, b'{"model_version": {"run_id": "/../../x", "creation_timestamp": "1"}}')
        else:
            version_at(
                "mlflow-artifacts:/m", lambda r: respond(r, 200, (whole / Path(r.path).name).read_bytes())
            )(request)

    folder = followed(answering(answer), tmp_path / "served").fetch("1")
    assert folder.resolve().parent == tmp_path / "served"


# What only MLflow can reach.


def test_another_database_is_read_by_a_child_process(tmp_path: Path, database: str) -> None:
    model = Model(database, "child", tmp_path)
    version = model.add()
    model.client.set_registered_model_alias("child", "champion", version)
    by_child = model.at("@champion", database.replace("sqlite:", "sqlite+pysqlite:"))
    assert by_child.interval > 60
    assert by_child.version() == version
    assert by_child.fetch(version).name == f"child-1-{model.runs[0][:8]}"
    folder = mlflow_process.MlflowProcess(by_child.registry).download(
        str(tmp_path / "source-0"), tmp_path / "fetched"
    )
    assert Manifest.load(folder).files["model.onnx"] == sha256(
        tmp_path / "source-0" / "data" / "onnx" / "model.onnx"
    )
    with pytest.raises(InputError, match=r"no model 'absent' in the registry; models: .*child"):
        RegisteredModel("models:/absent@champion", by_child.registry, tmp_path).version()


def test_files_that_a_server_hands_out_are_not_looked_for_through_its_database(
    tmp_path: Path, database: str
) -> None:
    client = MlflowClient(tracking_uri=database, registry_uri=database)
    client.create_registered_model("proxied")
    client.create_model_version("proxied", "mlflow-artifacts:/1/r/artifacts/model")
    with pytest.raises(
        InputError,
        match="handed out by the MLflow server of this database; set MLFLOW_TRACKING_URI to the server's",
    ):
        RegisteredModel("models:/proxied/1", database, tmp_path).fetch("1")


def test_a_child_process_reports_a_registry_that_gives_no_answer(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(RegistryError, match="file is not a database"):
        mlflow_process.MlflowProcess(f"sqlite:///{tmp_path}/mlflow.db").aliases("m")


def test_without_mlflow_the_remedy_is_a_server(
    tmp_path: Path, answering: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_process, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"^postgresql://host/db or its artifacts .*run mlflow server --serve-artifacts"
    ):
        followed("postgresql://me:secret@host/db", tmp_path).version()
    with pytest.raises(
        InputError, match="run mlflow server --serve-artifacts on it and set MLFLOW_TRACKING_URI"
    ):
        followed(answering(version_at("s3://bucket/model", lambda request: None)), tmp_path / "served").fetch(
            "1"
        )
    assert list((tmp_path / "served").iterdir()) == []
