"""The commands promote and rollback. They move an alias of the registry and start no Prefect server; the flows do the same."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from typing import Any

from tokensieve.project import Layout

WORDS = {
    "test_accuracy": "test accuracy",
    "test_exact_match": "test exact match",
    "test_macro_f1": "macro F1",
    "test_micro_f1": "micro F1",
    "test_ece": "calibration error",
}


def add_promote(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `promote`."""
    command.add_argument("--version", metavar="N", help="registered version (default: the challenger)")
    command.add_argument(
        "--reason",
        metavar="TEXT",
        help="why; needed, with --version, to promote a version that was rolled back",
    )
    command.add_argument(
        "--other-project",
        action="store_true",
        help="promote the version even if another project registered it",
    )
    add_rollback(command)


def add_rollback(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `rollback`."""
    command.add_argument("--json", action="store_true", help="print one JSON object")


def promote(options: argparse.Namespace, layout: Layout, answer: Callable[[str], None]) -> None:
    """Promote, and print both versions' figures and the way back."""
    from tasks import promote as promotions
    from tokensieve.settings import Settings

    moved = promotions.promote(
        layout, Settings.load(layout.params), options.version, options.reason, options.other_project
    )
    answer(json.dumps(moved, ensure_ascii=False) if options.json else promoted_text(moved, options.project))


def rollback(options: argparse.Namespace, layout: Layout, answer: Callable[[str], None]) -> None:
    """Roll back, and print both versions' figures and the way back."""
    from tasks import promote as promotions
    from tokensieve.settings import Settings

    moved = promotions.rollback(layout, Settings.load(layout.params))
    answer(
        json.dumps(moved, ensure_ascii=False) if options.json else rolled_back_text(moved, options.project)
    )


def promoted_text(moved: dict[str, Any], project: str) -> str:
    """Return a promotion in words. `project` is the value of --project."""
    if moved["version"] == moved["replaced"]:
        return f"Version {moved['version']} of '{moved['name']}' already is the champion{_figures(moved['figures'])}."
    first = (
        f"Version {moved['version']} of '{moved['name']}' is now the champion{_figures(moved['figures'])}."
    )
    if not moved["replaced"]:
        return f"{first} There was none before."
    return f"{first} {_before(moved)}\nTo undo: tokensieve rollback{_project(project)}"


def rolled_back_text(moved: dict[str, Any], project: str) -> str:
    """Return a rollback in words. `project` is the value of --project."""
    first = (
        f"Version {moved['version']} of '{moved['name']}' is the champion again{_figures(moved['figures'])}."
    )
    skipped = (
        f" Passed over, being deleted or without files: {', '.join(moved['skipped'])}."
        if moved["skipped"]
        else ""
    )
    if not moved["replaced"]:
        return first + skipped
    again = f'tokensieve promote --version {moved["replaced"]} --reason "..."{_project(project)}'
    return f"{first} {_before(moved)}{skipped}\nTo undo, with a reason: {again}"


def _before(moved: dict[str, Any]) -> str:
    other = (
        " The two have different data, so their figures are of different test texts."
        if moved["same_data"] is False
        else ""
    )
    return f"Before: version {moved['replaced']}{_figures(moved['replaced_figures'])}.{other}"


def _figures(figures: dict[str, float]) -> str:
    shown = ", ".join(f"{WORDS[key]} {value:.4f}" for key, value in figures.items() if key in WORDS)
    return f" ({shown})" if shown else ""


def _project(project: str) -> str:
    return "" if project == "." else f" --project {shlex.quote(project)}"
