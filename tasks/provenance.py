"""What made a model: commits, versions of the packages, and the processor. Knows nothing of MLflow."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import tokensieve
from tokensieve.export.build_variants import processor
from tokensieve.files import read_json
from tokensieve.project import Layout

NAME = "environment.json"  # in artifacts/model: written when the model was trained
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "onnx", "onnxruntime")
CHANGED = 20  # changed files that are named


def environment(device: str = "cpu") -> dict[str, str]:
    """Return the versions of Python, of tokensieve and of what it computes with, and the processor and device of this process."""
    versions = {name: _version(name) for name in ("tokensieve", *PACKAGES)}
    commit = {"tokensieve_commit": code_commit()}
    return (
        {"python": platform.python_version(), "processor": processor(), "device": device} | versions | commit
    )


def trained_with(layout: Layout) -> dict[str, str]:
    """Return the environment that the model was trained in, as parameters of a run.

    A model that was trained before it was recorded has that of the present process.
    """
    path = layout.model / NAME
    found = (
        read_json(path)
        if path.exists()
        else environment("unknown") | {"recorded": "at registration, not in training"}
    )
    return {f"environment.{key}": str(value) for key, value in found.items()}


def of_project(root: Path) -> dict[str, str]:
    """Return the tags of a run that name the project's git commit, and what was changed since. Empty outside git.

    A run writes dvc.lock and its other records before they can be committed, so these are among the changed files.
    """
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {}
    # Files that git does not track are not of the commit: data and artifacts are named by their hashes.
    lines = (_git(root, "status", "--porcelain", "--untracked-files=no", "--", ".") or "").splitlines()
    changed = [line.split(None, 1)[-1] for line in lines]
    named = ", ".join(changed[:CHANGED]) + (
        f" and {len(changed) - CHANGED} more" if len(changed) > CHANGED else ""
    )
    tags = {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": _git(root, "rev-parse", "--abbrev-ref", "HEAD") or "",
        "tokensieve.git.dirty": str(bool(changed)).lower(),
        "tokensieve.git.changed": named,
    }
    return {key: value for key, value in tags.items() if value}


def code_commit() -> str:
    """Return the commit of tokensieve's own code, with -dirty if it was changed since. Empty if it is not known."""
    folder = Path(tokensieve.__file__).parent
    # Else a virtual environment inside another repository would be named by that one's commit.
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
    """Return what git prints in `folder`; None if it fails, or is not installed."""
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
