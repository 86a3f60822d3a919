"""Attacks on a running `tokensieve serve`, each as it was found, with raw sockets and real signals."""

from __future__ import annotations

from tests.tokensieve.conftest import *  # noqa: F403 - the tiny served folder

KEY = "sesame"
POST = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
