"""`tokensieve up` refuses what cannot work before it starts anything, in one line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flows.up.postgres import VARIABLE
from tests.ports import free_port
from tokensieve.cli.main import main

DEAD = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        ([], {"PREFECT_API_URL": f"{DEAD}/api"}, ["PREFECT_API_URL names a Prefect server", "unset it"]),
        ([], {"MLFLOW_TRACKING_URI": DEAD}, [f"MLflow at {DEAD} gives no answer"]),
        (["--data", "nowhere.csv"], {}, ["--data 'nowhere.csv' does not exist"]),
        (["--test", "test.csv"], {}, ["--test needs --data"]),
        (["--data", "https://me:secret@host/a.csv"], {}, ["--data has a password", "${NAME}"]),
        (["--postgres", "postgresql://me:secret@db"], {}, ["--postgres has a password", VARIABLE]),
        (
            ["--log-texts", "/nowhere/a.jsonl"],
            {},
            ["--log-texts /nowhere/a.jsonl cannot be written (No such"],
        ),
        (["--log-texts", "/"], {}, ["--log-texts / cannot be written (Is a directory)"]),
        ([], {VARIABLE: "postgresql://me:secret@127.0.0.1:1"}, ["PostgreSQL at 127.0.0.1:1"]),
        (["--port", "0"], {}, ["--port is 0", "1 to 65535"]),
        (["--port", "4200"], {}, ["--prefect-port and --port are both 4200"]),
    ],
)
def test_what_cannot_work_is_one_line(
    arguments: list[str],
    variables: dict[str, str],
    named: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ports = [] if "--port" in arguments else _free_ports()
    assert main(["up", "--project", str(tmp_path / "project"), *arguments, *ports]) == 2
    output, errors = capfd.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1, errors
    assert [part for part in named if part not in errors] == []
    assert "secret" not in errors


def test_a_taken_port_is_named_with_its_option(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        ports = [*_free_ports()[:4], "--mlflow-port", port]
        assert main(["up", "--project", str(tmp_path / "project"), *ports]) == 2
    assert f"port {port} (--mlflow-port) of 127.0.0.1 is not free: process" in capfd.readouterr().err


def _free_ports() -> list[str]:
    ports = [str(free_port()) for _ in range(3)]
    return ["--port", ports[0], "--prefect-port", ports[1], "--mlflow-port", ports[2]]
