"""The services of a project: the servers of Prefect and MLflow, a worker, the inference server."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from flows.up.deployments import POOL
from flows.up.guard import living_descendants
from flows.up.local_http import answers, post
from flows.up.postgres import Databases
from flows.up.service import Service
from tokensieve import packages
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.registry.models import open_reader
from tokensieve.registry.project_identity import identity
from tokensieve.settings import Settings

LOOPBACK = "127.0.0.1"
PREFECT, MLFLOW, WORKER, SERVER = "Prefect", "MLflow", "worker", "server"
HEARTBEAT_SECONDS = 30  # between two heartbeats of the worker
SILENT_SECONDS = 3.0 * HEARTBEAT_SECONDS
# `quiet_libraries` silences Prefect in this process; a service has a log of its own.
LOGGED = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Addresses:
    """Where the services listen.

    Prefect and MLflow have no passwords: they listen on this machine only.

    Attributes:
        host: The address that the inference server listens on.
        registry: The address of MLflow.
    """

    host: str
    port: int
    prefect_port: int
    registry: str
    mlflow_port: int

    @property
    def api(self) -> str:
        """Prefect's API."""
        return f"http://{LOOPBACK}:{self.prefect_port}/api"

    @property
    def server(self) -> str:
        """The inference server, as this machine reaches it."""
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def prefect(layout: Layout, at: Addresses, databases: Databases | None) -> Service:
    """Return Prefect's server.

    Its SQLite file is the project's, unless there is another database.
    """
    database = databases.prefect if databases else f"sqlite+aiosqlite:///{layout.prefect}"
    return Service(
        PREFECT,
        (
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            LOOPBACK,
            "--port",
            str(at.prefect_port),
        ),
        _log(layout, PREFECT),
        lambda began: answers(f"{at.api}/health"),
        f"http://{LOOPBACK}:{at.prefect_port}",
        LOGGED
        | {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_API_URL": at.api,  # the pages send their requests there, too
            # By default Prefect writes its pages into the environment's folder, which may be
            # read-only.
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(Path(layout.up) / "prefect-pages"),
        },
        responds=lambda guard: answers(f"{at.api}/health"),
    )


def mlflow(layout: Layout, at: Addresses, store: str) -> Service:
    """Return MLflow's server on the database `store`.

    It does not send files: runs, servers and commands of this machine read and write them in the
    project, whether they ask this server or the SQLite file.
    """
    options: tuple[str, ...] = (
        "--host",
        LOOPBACK,
        "--port",
        str(at.mlflow_port),
        "--workers",
        "1",
        "--no-serve-artifacts",
    )
    files = ("--default-artifact-root", layout.runs.resolve().as_uri())
    quiet = ("--uvicorn-opts", "--no-access-log")
    return Service(
        MLFLOW,
        tuple(packages.command("flows.up.mlflow_server", *options, *files, *quiet)),
        _log(layout, MLFLOW),
        lambda began: answers(f"{at.registry}/health"),
        at.registry,
        # Its job runner has eight processes of 240 MB, for jobs that no run or command submits.
        {"MLFLOW_BACKEND_STORE_URI": store, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        responds=lambda guard: answers(f"{at.registry}/health"),
    )


def worker(layout: Layout, at: Addresses) -> Service:
    """Return the worker that starts the runs.

    It counts as responding while it has a run, because ending the worker would end the run.
    """
    name = f"{socket.gethostname()}-{os.getpid()}"

    def has_heartbeat_since(moment: float) -> bool | None:
        """Return whether it sent a heartbeat at or after `moment`, in seconds since 1970.

        None: Prefect does not respond.
        """
        found = post(f"{at.api}/work_pools/{POOL}/workers/filter", {})
        if not isinstance(found, list):
            return None
        beats = [known.get("last_heartbeat_time") for known in found if known.get("name") == name]
        return any(beat and datetime.fromisoformat(beat).timestamp() >= moment for beat in beats)

    def responds(guard: int) -> bool:
        return has_heartbeat_since(time.time() - SILENT_SECONDS) is not False or _has_run(guard)

    return Service(
        WORKER,
        (
            sys.executable,
            "-m",
            "prefect",
            "worker",
            "start",
            "--pool",
            POOL,
            "--type",
            "process",
            "--name",
            name,
        ),
        _log(layout, WORKER),
        lambda began: bool(has_heartbeat_since(began)),
        f"work pool {POOL}",
        LOGGED | {"PREFECT_API_URL": at.api, "PREFECT_WORKER_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS)},
        responds=responds,
    )


def server(layout: Layout, at: Addresses, log_texts: str | None = None) -> Service:
    """Return the inference server. It can start when the project's model has a champion.

    `log_texts` is the file to which it writes the texts. None: no text is stored.
    """
    model = f"models:/{identity(layout, Settings.load(layout.params)).model}@champion"
    options: tuple[str, ...] = ("--host", at.host, "--port", str(at.port), "--project", str(layout.root))
    if log_texts:
        options += ("--log-texts", log_texts)
    reader = Champion(layout, at.registry)
    return Service(
        SERVER,
        (sys.executable, "-P", "-m", "tokensieve", "serve", "--model", model, *options),
        _log(layout, SERVER),
        lambda began: answers(f"{at.server}/ready"),
        at.server,
        needed=reader.exists,
        # The next promotion corrects a champion that cannot be loaded.
        vital=False,
        responds=lambda guard: answers(f"{at.server}/health"),
    )


class Champion:
    """Whether the project's model has a champion. Asked at most once per `INTERVAL`."""

    INTERVAL = 3.0  # seconds

    def __init__(self, layout: Layout, registry: str) -> None:
        self._layout, self._reader, self._next = layout, open_reader(registry), 0.0

    def exists(self) -> bool:
        """Return whether there is one.

        False if the registry does not respond or was asked just now.
        """
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self.INTERVAL
        try:
            name = identity(self._layout, Settings.load(self._layout.params)).model
            return "champion" in (self._reader.aliases(name) or {})
        except InputError:
            return False


def _has_run(guard: int) -> bool:
    """Return whether the worker that the process `guard` guards has started a run that goes on.

    A run that is left of an earlier worker counts, too.
    """
    try:
        return len(living_descendants(guard)) > 1  # the worker itself is one
    except psutil.NoSuchProcess:
        return False


def _log(layout: Layout, name: str) -> Path:
    return Path(layout.up) / f"{name.lower()}.log"
