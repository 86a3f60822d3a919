"""MLflow behind a certificate of its own authority, as a real TLS server on loopback."""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tokensieve.errors import InputError
from tokensieve.registry.models import RegisteredModel
from tokensieve.registry.store import RegistryError

NAMES = ("SERVER_CERT_PATH", "INSECURE_TLS", "CLIENT_CERT_PATH", "USERNAME", "PASSWORD", "TOKEN")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority (ca.pem), and a server's and a client's certificate with its key
    that it signed.
    """
    folder = tmp_path_factory.mktemp("certificates")
    own = ec.generate_private_key(ec.SECP256R1())
    authority = signed("authority", own.public_key(), "authority", own)
    (folder / "ca.pem").write_bytes(authority)
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        plain = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (folder / f"{name}.pem").write_bytes(plain + signed(name, key.public_key(), "authority", own))
    return folder


def signed(name: str, public: Any, issuer: str, key: Any) -> bytes:
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]) for common in (name, issuer)]
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        named[1], named[0], public, x509.random_serial_number(), now, now + datetime.timedelta(days=1)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def served(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """Start a registry behind TLS; returns its address, and the credentials that it is sent.

    With `asking`, for a client's certificate.
    """
    for name in (
        *(f"MLFLOW_TRACKING_{name}" for name in NAMES),
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    started = []

    def start(asking: bool = False) -> tuple[str, list[str]]:
        seen: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.headers.get("Authorization", ""))
                body = json.dumps(
                    {"registered_model": {"aliases": [{"alias": "champion", "version": "3"}]}}
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.pem")
        if asking:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates / "ca.pem")
        running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.socket = context.wrap_socket(running.socket, server_side=True)
        running.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        started.append(running)
        return f"https://127.0.0.1:{running.server_port}", seen

    yield start
    for running in started:
        running.shutdown()
        running.server_close()


def version(address: str, folder: Path) -> str:
    return RegisteredModel("models:/m@champion", address, folder).version()


def test_an_authority_that_is_not_known_is_told_with_its_remedy(served: Any, tmp_path: Path) -> None:
    address, seen = served()
    with pytest.raises(
        RegistryError, match=r"CERTIFICATE_VERIFY_FAILED.*set MLFLOW_TRACKING_SERVER_CERT_PATH to the file"
    ):
        version(address, tmp_path)
    assert seen == []


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_authority_is_named_as_for_mlflow(
    name: str, served: Any, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(certificates / "ca.pem"))
    assert version(served()[0], tmp_path) == "3"
    monkeypatch.setenv(name, str(certificates / "absent.pem"))
    with pytest.raises(
        InputError, match=rf"{name} is '.*absent\.pem', which cannot be read \(No such file or directory\)"
    ):
        version(served()[0], tmp_path)
    (tmp_path / "garbage.pem").write_text("garbage", encoding="utf-8")
    monkeypatch.setenv(name, str(tmp_path / "garbage.pem"))
    with pytest.raises(InputError, match=rf"{name} is .* give a PEM file"):
        version(served()[0], tmp_path)


def test_checks_are_switched_off_as_for_mlflow(
    served: Any, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("true", "1", "TRUE"):
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", value)
        assert version(served()[0], tmp_path) == "3"
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "maybe")
    with pytest.raises(
        InputError, match="MLFLOW_TRACKING_INSECURE_TLS is 'maybe'; allowed: true, false, 1, 0"
    ):
        version(served()[0], tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificates / "ca.pem"))
    with pytest.raises(InputError, match="are both set; unset one of them"):
        version(served()[0], tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "false")
    assert version(served()[0], tmp_path) == "3"


def test_a_client_shows_its_certificate(
    served: Any, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificates / "ca.pem"))
    address, _ = served(asking=True)
    with pytest.raises(RegistryError, match="gives no answer"):
        version(address, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(certificates / "client.pem"))
    assert version(address, tmp_path) == "3"
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(certificates / "ca.pem"))
    with pytest.raises(
        InputError,
        match=(
            r"MLFLOW_TRACKING_CLIENT_CERT_PATH is .*ca\.pem', which cannot be read \(it is not PEM, or has no"
        ),
    ):
        version(address, tmp_path)


def test_credentials_of_the_home_folder(
    served: Any, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificates / "ca.pem"))
    path = tmp_path / "home" / ".mlflow" / "credentials"
    path.parent.mkdir()
    path.write_text(
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = 50%%\n", encoding="utf-8"
    )
    address, seen = served()
    # As MLflow: a variable goes before the file, each by itself, and a password before a token.
    for variables, expected in (
        ({}, "me:50%"),
        ({"MLFLOW_TRACKING_PASSWORD": "other"}, "me:other"),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "me:50%"),
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            assert version(address, tmp_path) == "3"
        assert seen[-1] == "Basic " + base64.b64encode(expected.encode()).decode()
    path.write_text("no section", encoding="utf-8")
    with pytest.raises(InputError, match=r"credentials is damaged"):
        version(address, tmp_path)
