"""Credentials of an MLflow server, from the same places as MLflow itself reads them.

These are MLFLOW_TRACKING_USERNAME and _PASSWORD, ~/.mlflow/credentials, MLFLOW_TRACKING_TOKEN, and
the address.
"""

from __future__ import annotations

import base64
import configparser
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tokensieve.errors import InputError


def split_credentials(uri: str) -> tuple[str, dict[str, str]]:
    """Return the address without credentials, and the headers with the credentials, if any.

    Raises:
        InputError: If ~/.mlflow/credentials is damaged.
    """
    parts = urlsplit(uri)
    user, password = _user_and_password()
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if not (user and password) and not token and "@" in parts.netloc:
        user, _, password = (unquote(part) for part in parts.netloc.rpartition("@")[0].partition(":"))
    headers = {}
    if user and password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    elif token:
        headers["Authorization"] = f"Bearer {token}"
    return plain_address(uri), headers


def plain_address(uri: str) -> str:
    """Return the address without credentials and without a slash at the end."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _user_and_password() -> tuple[str | None, str | None]:
    """Return user and password, like MLflow.

    Each comes from the environment, or else from ~/.mlflow/credentials.
    """
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    path = Path("~/.mlflow/credentials").expanduser()
    kept = configparser.ConfigParser()
    try:
        kept.read(path, encoding="utf-8")
        found = [os.environ.get(name) or kept.get("mlflow", name.lower(), fallback=None) for name in names]
    except (configparser.Error, OSError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}); write [mlflow] and a line per value, and %% for %"
        ) from None
    return found[0], found[1]
