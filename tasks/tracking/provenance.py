"""Where a model comes from: git commits, versions of packages, and the processor."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import tokensieve
from tokensieve.files import read_json
from tokensieve.processor import processor
from tokensieve.project import Layout

NAME = "environment.json"  # in artifacts/model; finetune writes it
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "onnx", "onnxruntime")
MAX_NAMED = 20  # changed files that the tags of a run name


def environment(device: str = "cpu") -> dict[str, str]:
    """Return the versions of Python and the numerical packages, the processor and the device."""
    versions = {name: _version(name) for name in ("tokensieve", *PACKAGES)}
    commit = {"tokensieve_commit": code_commit()}
    return (
        {"python": platform.python_version(), "processor": processor(), "device": device} | versions | commit
    )


def trained_with(layout: Layout) -> dict[str, str]:
    """Return the environment in which the model was trained, as parameters of a run.

    If it was not recorded (earlier versions did not), it is that of the present process.
    """
    path = layout.model / NAME
    found = (
        read_json(path)
        if path.exists()
        else environment("unknown") | {"recorded": "at registration, not in training"}
    )
    return {f"environment.{key}": str(value) for key, value in found.items()}


def of_project(root: Path) -> dict[str, str]:
    """Return tags of a run with the project's git commit and the files changed since then.

    Empty outside git. A run writes dvc.lock and other files before they can be committed, so these
    are among the changed files.
    """
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {}
    # Untracked files are left out: the hashes of data and artifacts are logged.
    lines = (_git(root, "status", "--porcelain", "--untracked-files=no", "--", ".") or "").splitlines()
    changed = [line.split(None, 1)[-1] for line in lines]
    named = ", ".join(changed[:MAX_NAMED]) + (
        f" and {len(changed) - MAX_NAMED} more" if len(changed) > MAX_NAMED else ""
    )
    tags = {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": _git(root, "rev-parse", "--abbrev-ref", "HEAD") or "",
        "tokensieve.git.dirty": str(bool(changed)).lower(),
        "tokensieve.git.changed": named,
    }
    return {key: value for key, value in tags.items() if value}


def code_commit() -> str:
    """Return the commit of tokensieve's own code, with -dirty if it was changed since then.

    Empty if unknown.
    """
    folder = Path(tokensieve.__file__).parent
    # Otherwise a virtual environment inside another repository would get the commit of that one.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py"):
        changed = _git(
            folder.parent,
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            "tokensieve",
            "tasks",
            "flows",
        )
        return (_git(folder, "rev-parse", "HEAD") or "") + ("-dirty" if changed else "")
    try:
        installed = json.loads(distribution("tokensieve").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ""
    return str(installed.get("vcs_info", {}).get("commit_id", ""))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git in `folder`. None if git fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip()
