"""MLflow with basic authentication behind a certificate of a private authority."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import BIN, STARTUP_SECONDS, free_port, wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]
PASSWORD = "Corr3ct-Horse"
CONFIG = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{folder}/users.db
admin_username = admin
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def certificates(folder: Path) -> None:
    """Write ca.pem, of an authority, and server.pem with server.key, which it signed."""
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n", encoding="utf-8")
    authority = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"
    request = "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost"
    signed = (
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 "
        "-extfile names"
    )
    for command in (authority, request, signed):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def address(start: Callable[..., Any], environment: dict[str, str], tmp_path: Path) -> str:
    """Start MLflow with users and TLS, and return its address."""
    folder, port = tmp_path / "private", free_port()
    folder.mkdir()
    certificates(folder)
    (folder / "auth.ini").write_text(CONFIG.format(folder=folder, password=PASSWORD), encoding="utf-8")
    variables = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret",
    }
    command = [
        *(str(BIN / "mlflow"), "server", "--app-name", "basic-auth", "--host", "127.0.0.1"),
        *("--port", str(port), "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts"), "--workers", "1"),
        *("--uvicorn-opts", f"--ssl-keyfile {folder}/server.key --ssl-certfile {folder}/server.pem"),
    ]
    server = start("mlflow", *command, env=environment | variables)
    url, opened = f"https://localhost:{port}", ["curl", "-sf", "--cacert", str(folder / "ca.pem")]
    wait_for(
        lambda: (
            server.popen.poll() is not None
            or subprocess.run([*opened, f"{url}/health"], capture_output=True, check=False).returncode == 0
        ),
        STARTUP_SECONDS,
        "MLflow",
    )
    assert server.popen.poll() is None, server.text()
    return url


@pytest.mark.timeout(900)
def test_users_and_a_private_authority(
    address: str,
    start: Callable[..., Any],
    environment: dict[str, str],
    tokensieve: Run,
    small: list[str],
    data_file: Path,
    tmp_path: Path,
) -> None:
    project, authority = tmp_path / "tickets", str(tmp_path / "private" / "ca.pem")
    environment["MLFLOW_TRACKING_URI"] = address
    run = ("run", "--project", str(project), "--data", str(data_file), *small)
    user = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    refused = [
        (user, "set MLFLOW_TRACKING_SERVER_CERT_PATH"),
        ({"REQUESTS_CA_BUNDLE": authority}, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (
            user | {"REQUESTS_CA_BUNDLE": authority, "MLFLOW_TRACKING_PASSWORD": "wrong"},
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        ),
    ]
    for variables, remedy in refused:
        done = tokensieve(*run, **variables)
        assert done.returncode == 2, done.stderr
        # The command to type follows.
        (line,) = (line for line in done.stderr.splitlines() if line.startswith("tokensieve: "))
        assert remedy in line
        assert "Traceback" not in done.stderr

    environment |= user | {"MLFLOW_TRACKING_SERVER_CERT_PATH": authority}
    done = tokensieve(*run)
    assert done.returncode == 0, done.stderr
    # requests reads the other variable.
    del environment["MLFLOW_TRACKING_SERVER_CERT_PATH"]
    environment["REQUESTS_CA_BUNDLE"] = authority
    assert tokensieve("promote", "--project", str(project)).returncode == 0
    predicted = tokensieve("predict", "--model", "models:/tickets@champion", "--json", "my card is lost")
    assert predicted.returncode == 0, predicted.stderr
    port = free_port()
    command = [str(BIN / "tokensieve"), "serve", "--model", "models:/tickets@champion", "--port", str(port)]
    start("serve", *command, url=f"http://127.0.0.1:{port}/ready")
    kept = [path for path in project.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert kept == []
