"""Attacks on a running `tokensieve serve`, each as it was found, with raw sockets and real signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import BIN, Process, Start, free_port, wait_for
from tests.tokensieve.conftest import *  # noqa: F403 - the tiny served folder

KEY = "sesame"
POST = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
