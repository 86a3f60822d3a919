"""Checks of an installation and its surroundings, for the command `doctor`. They need no extra."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tokensieve import __version__, packages
from tokensieve.disk import nearest_existing
from tokensieve.environment import NO_REPORTS
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri, without_password
from tokensieve.settings import Settings

PACKAGES = (
    "onnxruntime",
    "torch",
    "transformers",
    "prefect",
    "sqlalchemy",
    "mlflow",
    "dvc",
    "great-expectations",
)
PIPELINE = ("prefect", "mlflow", "dvc")
Bound = Callable[[tuple[int, ...]], bool]
# Pairs of packages that do not work together: a package and its versions, the other package and its
# versions, the effect, the remedy.
KNOWN_BAD: tuple[tuple[str, Bound, str, Bound, str, str], ...] = (
    (
        "prefect",
        lambda found: found < (3, 9),
        "sqlalchemy",
        lambda found: found >= (2, 1),
        "Prefect's server schedules no run",
        "pip install 'sqlalchemy<2.1' or 'prefect>=3.9'",
    ),
)
LEAST_FREE = 2 * 1024**3  # bytes: what a run of a small model with its cache needs
ANSWER_SECONDS = 5.0
SECRET = re.compile(r"key|token|password|secret|auth|credential|connection_url", re.IGNORECASE)


@dataclass(frozen=True)
class Check:
    """The outcome of one check. `remedy` corrects what is wrong if it is not `ok`."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def bad_pairs() -> Iterator[tuple[str, str]]:
    """Yield the problem and the remedy of each bad pair of installed packages (`KNOWN_BAD`)."""
    for first, of_first, second, of_second, effect, remedy in KNOWN_BAD:
        pair = (_installed(first), _installed(second))
        if all(pair) and of_first(_numbers(pair[0])) and of_second(_numbers(pair[1])):
            yield f"{first} {pair[0]} with {second} {pair[1]}: {effect}", remedy


def checks(layout: Layout) -> Iterator[Check]:
    """Yield the outcome of each check."""
    yield _versions()
    pairs = list(bad_pairs())
    yield Check(
        "known bad",
        not pairs,
        "; ".join(wrong for wrong, _ in pairs) or "none",
        "; ".join(remedy for _, remedy in pairs),
    )
    if all(map(_installed, PIPELINE)):
        yield _prefect()
        yield _mlflow(layout)
        yield _dvc(layout)
    yield _hub()
    yield _gpu()
    yield from _disk(layout)
    yield _variables()


def _versions() -> Check:
    found = {name: _installed(name) for name in PACKAGES}
    lacking = [name for name, number in found.items() if not number]
    listed = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    without = (
        f"; not installed: {', '.join(lacking)} (pip install 'tokensieve[pipeline]' for runs)"
        if lacking
        else ""
    )
    return Check(
        "versions", True, f"tokensieve {__version__}, Python {sys.version.split()[0]}, {listed}{without}"
    )


def _prefect() -> Check:
    address, source = os.environ.get("PREFECT_API_URL"), "PREFECT_API_URL"
    profile = ""
    if not address:
        profile, settings = _profile()
        address, source = settings.get("PREFECT_API_URL"), f"profile {profile}"
    if not address:
        return Check(
            "Prefect",
            True,
            f"no server is set{f' (profile {profile})' if profile else ''}: each run starts one for itself",
        )
    wrong = _unreachable(f"{address.rstrip('/')}/health")
    shown = f"{without_password(address)} ({source})"
    remedy = f"start the server, or change {source}"
    return Check("Prefect", not wrong, f"{shown} {wrong or 'answers'}", remedy)


def _profile() -> tuple[str, dict[str, str]]:
    """Return the name and the settings of Prefect's active profile.

    Prefect is not imported, because that takes a second.
    """
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml")).expanduser()
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tree = {}
    name = os.environ.get("PREFECT_PROFILE") or tree.get("active", "")
    return name, tree.get("profiles", {}).get(name, {})


def _mlflow(layout: Layout) -> Check:
    try:
        settings = Settings.load(layout.params) if layout.params.exists() else Settings()
        address = tracking_uri(layout, settings)
    except InputError as error:
        return Check("MLflow", False, str(error), "correct the setting")
    source = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "the project's own"
    if not address.startswith("http"):
        return Check("MLflow", True, f"{without_password(address)} ({source}): no server")
    wrong = _unreachable(f"{address.rstrip('/')}/health")
    return Check(
        "MLflow",
        not wrong,
        f"{without_password(address)} ({source}) {wrong or 'answers'}",
        f"start the server, or change {source}",
    )


def _dvc(layout: Layout) -> Check:
    if not layout.root.is_dir():
        return Check(
            "DVC remote",
            False,
            f"{layout.root} does not exist",
            "use --project with the folder of the project",
        )
    if not layout.at(".dvc").is_dir():
        return Check("DVC remote", True, f"{layout.root} is not a project")
    try:
        name, address = packages.module("tasks.projects.project").dvc_remote(layout)
    except Exception as error:
        return Check("DVC remote", False, without_password(" ".join(str(error).split())), "see .dvc/config")
    if not address:
        return Check(
            "DVC remote",
            False,
            "none: data versions are in this folder alone",
            "dvc remote add --default NAME URL",
        )
    if "://" not in address and not os.access(nearest_existing(Path(address)), os.W_OK):
        return Check(
            "DVC remote",
            False,
            f"{name}: {address} cannot be written",
            "change its rights, or the remote's url",
        )
    return Check("DVC remote", True, f"{name}: {without_password(address)}")


def _hub() -> Check:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return Check("model hub", True, "HF_HUB_OFFLINE is set: base models come from the cache or a folder")
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    wrong = _unreachable(address)
    # The base model may be in a folder, an installed package or the cache: no fault.
    note = f"{wrong}; base models come from the cache, a package or a folder" if wrong else "answers"
    return Check("model hub", True, f"{without_password(address)} {note}")


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check("GPU", True, "torch is not installed")
    import torch

    from tokensieve.training.device import gpu_fault

    fault = gpu_fault()
    if not fault:
        return Check("GPU", True, f"{torch.cuda.get_device_name()} computes")
    if torch.cuda.is_available():
        return Check("GPU", False, fault, "update its driver, or train on the CPU (finetune.device=cpu)")
    seen = shutil.which("nvidia-smi") is not None and torch.version.cuda is None
    return Check(
        "GPU", not seen, "none that torch can use", "this torch is built for CPUs; install one for CUDA"
    )


def _disk(layout: Layout) -> Iterator[Check]:
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    for name, path in (
        ("project", layout.root),
        ("temporary", Path(tempfile.gettempdir())),
        ("Prefect's home", home),
    ):
        there = nearest_existing(path)
        free = shutil.disk_usage(there).free
        wrong = [] if os.access(there, os.W_OK | os.X_OK) else ["cannot be written"]
        wrong += [f"only {free / 1024**3:.1f} GiB free"] if free < LEAST_FREE else []
        found = ", ".join(wrong) or f"can be written, {free / 1024**3:.0f} GiB free"
        yield Check(
            name,
            not wrong,
            f"{path}: {found}",
            f"free {LEAST_FREE / 1024**3:.0f} GiB, or change the rights of {there}",
        )


def _variables() -> Check:
    ours = (
        NO_REPORTS.items()
        | {"MLFLOW_LOGGING_LEVEL": "WARNING", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}.items()
    )
    names = sorted(
        name
        for name, value in os.environ.items()
        if name.startswith(("MLFLOW_", "PREFECT_")) and (name, value) not in ours
    )
    shown = [
        f"{name}={'(hidden)' if SECRET.search(name) else without_password(os.environ[name])}"
        for name in names
    ]
    profile, settings = _profile()
    hidden = [
        f"{key}={'(hidden)' if SECRET.search(key) else without_password(str(value))}"
        for key, value in sorted(settings.items())
    ]
    in_profile = f"; Prefect profile {profile}: {', '.join(hidden) or 'empty'}" if profile else ""
    return Check("variables", True, f"{', '.join(shown) or 'none of MLFLOW_*, PREFECT_*'}{in_profile}")


def _unreachable(address: str) -> str:
    """Return why `address` does not respond; empty if it does.

    No password is sent, so a refusal counts as a response.
    """
    try:
        with urllib.request.urlopen(without_password(address), timeout=ANSWER_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        return f"answers with status {error.code}" if error.code >= 500 or error.code == 404 else ""
    except (OSError, ValueError, HTTPException) as error:
        return f"does not answer ({getattr(error, 'reason', error)})"


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
