"""`tokensieve doctor`: what is wrong with an installation, one line per check."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.ports import free_port
from tokensieve.cli import installation_checks
from tokensieve.cli.main import main


class Refusing(BaseHTTPRequestHandler):
    """A server that requires a password."""

    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server is set, and no file of this machine's Prefect is read."""
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(installation_checks, "LEAST_FREE", 1)


def test_a_sound_installation_has_a_line_per_check(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--project", str(tmp_path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("ok    ")] == []
    assert len(lines) == 11


def test_servers_that_do_not_answer_are_wrong_and_no_secret_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:s3cret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql://ann:s3cret@host/db")
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "profiles.toml").write_text(
        f'active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://127.0.0.1:{port}/api"\n'
        'PREFECT_API_KEY = "s3cret"\n'
    )

    assert main(["doctor", "--project", str(tmp_path), "--json"]) == 1

    output = capfd.readouterr().out
    checks = {check["name"]: check for check in json.loads(output)}
    assert "s3cret" not in output
    assert [name for name, check in checks.items() if not check["ok"]] == ["Prefect", "MLflow"]
    assert "profile work" in checks["Prefect"]["found"]
    assert "does not answer" in checks["Prefect"]["found"]
    assert "start the server" in checks["MLflow"]["remedy"]
    assert "MLFLOW_TRACKING_PASSWORD=(hidden)" in checks["variables"]["found"]


@pytest.mark.parametrize("port", [True, False])
def test_an_address_with_a_password_is_checked_without_it(
    port: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", f"http://ann:s3cret@127.0.0.1{f':{server.server_port}' if port else ''}"
    )
    with server:
        main(["doctor", "--project", str(tmp_path), "--json"])
        server.shutdown()

    output = "".join(capfd.readouterr())
    assert "s3cret" not in output
    assert not port or {check["name"]: check["ok"] for check in json.loads(output)}["MLflow"]


@pytest.mark.parametrize(
    ("prefect", "sqlalchemy", "bad"),
    [
        ("3.8.8", "2.1.9", True),
        ("3.8.8", "2.0.58", False),
        ("3.9.1", "2.1.0", False),
        ("3.10.0", "2.1.0", False),
        ("", "2.1.0", False),
    ],
)
def test_a_known_bad_pair_is_wrong_with_its_remedy(
    prefect: str,
    sqlalchemy: str,
    bad: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        installation_checks,
        "_installed",
        lambda name: {"prefect": prefect, "sqlalchemy": sqlalchemy}.get(name, ""),
    )
    assert main(["doctor", "--project", str(tmp_path)]) == int(bad)
    assert ("schedules no run; pip install" in capfd.readouterr().out) == bad


def test_a_full_disk_and_a_broken_profile_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installation_checks, "LEAST_FREE", 1 << 60)
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "profiles.toml").write_text("not = [toml")
    assert main(["doctor", "--project", str(tmp_path)]) == 1
    assert "WRONG project" in capfd.readouterr().out


def test_doctor_needs_no_extra(tmp_path: Path) -> None:
    """Without torch, Prefect, MLflow and DVC, as a serving image has it."""
    program = """
import importlib.metadata as metadata, importlib.util as util, sys
hidden = {
    "torch", "transformers", "prefect", "sqlalchemy", "mlflow", "dvc", "great_expectations",
    "great-expectations",
}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden: raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
known, found = metadata.version, util.find_spec
def version(name):
    if name in hidden: raise metadata.PackageNotFoundError(name)
    return known(name)
metadata.version, util.find_spec = version, lambda name: None if name in hidden else found(name)
from tokensieve.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--project", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "not installed: torch" in done.stdout
    assert "torch is not installed" in done.stdout
