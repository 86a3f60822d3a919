"""TLS to an MLflow server, with the environment variables that MLflow and requests read."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokensieve.errors import InputError, excerpt

INSECURE, SERVER, CLIENT = (
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)
BUNDLES = (SERVER, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # the first one that is set is used


def tls_context() -> ssl.SSLContext:
    """Return the TLS settings: how the server's certificate is checked, and the client certificate.

    Raises:
        InputError: If a variable has a value that MLflow refuses, or the path of an unreadable
            file.
    """
    insecure = os.environ.get(INSECURE, "false").lower()
    if insecure not in ("true", "false", "1", "0"):
        raise InputError(f"{INSECURE} is {excerpt(insecure)}; allowed: true, false, 1, 0")
    if insecure in ("true", "1"):
        if os.environ.get(SERVER):
            raise InputError(f"{INSECURE} and {SERVER} are both set; unset one of them")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context = _trust(next((name for name in BUNDLES if os.environ.get(name)), ""))
    if path := os.environ.get(CLIENT):
        with _reading(CLIENT, path):
            # The password is empty, because otherwise OpenSSL asks for one on the terminal.
            context.load_cert_chain(path, password="")
    return context


def _trust(name: str) -> ssl.SSLContext:
    path = os.environ.get(name, "")
    if not path:
        return ssl.create_default_context()
    with _reading(name, path):
        folder = Path(path).is_dir()
        return ssl.create_default_context(capath=path if folder else None, cafile=None if folder else path)


@contextmanager
def _reading(name: str, path: str) -> Iterator[None]:
    """Run the block, which reads the file at `path`, the value of the variable `name`.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        yield
    except OSError as error:  # ssl's own errors are of this kind
        reason = (
            error.strerror
            if isinstance(error, FileNotFoundError | PermissionError)
            else "it is not PEM, or has no private key"
        )
        raise InputError(
            f"{name} is {excerpt(path, 200)}, which cannot be read ({reason}); give a PEM file"
        ) from None
