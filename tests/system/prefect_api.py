"""Requests to Prefect's API, as its own client sends them."""

from __future__ import annotations

import sys
import time
from typing import Any

import httpx

TRIES, PAUSE = 30, 2.0  # seconds between two tries
SECONDS, TIMEOUTS = 60.0, 3  # the limit of one try, and how many tries may reach it
UNAVAILABLE = 503


def ask(url: str, body: Any = None, method: str | None = None) -> Any:
    """Return the JSON response to a POST of `body`, or to a GET if there is none.

    With status 503 the server asks for another try: on SQLite, other writes hold the database.
    A request that only reads is sent again if the response is late. Prefect's client sends requests
    again in both cases.
    """
    method = method or ("GET" if body is None else "POST")
    reads = method == "GET" or url.endswith("/filter")
    late = 0
    for _ in range(TRIES):
        try:
            response = httpx.request(method, url, json=body, timeout=SECONDS, trust_env=False)
        except httpx.ReadTimeout:
            late += 1
            if not reads or late == TIMEOUTS:
                raise
            sys.stdout.write(f"no response to {method} {url} in {SECONDS:.0f} s\n")
            continue
        if response.status_code != UNAVAILABLE:
            break
        time.sleep(PAUSE)
    response.raise_for_status()
    return response.json() if response.content else None
