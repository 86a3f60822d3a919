"""Requests to Prefect's API, as its own client sends them."""

from __future__ import annotations

import time
from typing import Any

import httpx

TRIES, PAUSE = 30, 2.0  # seconds between two tries
UNAVAILABLE = 503


def ask(url: str, body: Any = None, method: str | None = None) -> Any:
    """Return the JSON response to a POST of `body`, or to a GET if there is none.

    With status 503 the server asks for another try: on SQLite, other writes hold the database.
    Prefect's client tries again, too.
    """
    method = method or ("GET" if body is None else "POST")
    for _ in range(TRIES):
        response = httpx.request(method, url, json=body, timeout=60, trust_env=False)
        if response.status_code != UNAVAILABLE:
            break
        time.sleep(PAUSE)
    response.raise_for_status()
    return response.json() if response.content else None
