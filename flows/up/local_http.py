"""Requests to the servers of this machine."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

SECONDS = 5.0


def answers(url: str) -> bool:
    """Return whether a GET of `url` has status 200."""
    return _request("GET", url) is not None


def post(url: str, body: Any) -> Any:
    """Return the JSON response to a POST of `body` as JSON. None if it fails, or is not JSON."""
    found = _request("POST", url, json.dumps(body))
    try:
        return None if found is None else json.loads(found)
    except ValueError:
        return None


def _request(method: str, url: str, body: str | None = None) -> bytes | None:
    # Not urllib, which may use a proxy.
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        connection.request(method, parts.path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        return content if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
