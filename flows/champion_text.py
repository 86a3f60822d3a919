"""A promotion or rollback in words."""

from __future__ import annotations

import shlex
from typing import Any

WORDS = {
    "test_accuracy": "test accuracy",
    "test_exact_match": "test exact match",
    "test_macro_f1": "macro F1",
    "test_micro_f1": "micro F1",
    "test_ece": "calibration error",
}


def promoted_text(moved: dict[str, Any], project: str, against: str = "") -> str:
    """Return a promotion in words.

    `project` is the value of --project, `against` what the verdict advises against it.
    """
    if moved["version"] == moved["replaced"]:
        return (
            f"Version {moved['version']} of '{moved['name']}' is already the "
            f"champion{_figures(moved['figures'])}."
        )
    first = (
        f"Version {moved['version']} of '{moved['name']}' is now the champion{_figures(moved['figures'])}."
    )
    warning = f"\nwarning: the verdict on this version was: {against}" if against else ""
    if not moved["replaced"]:
        return f"{first} There was no champion before.{warning}"
    return f"{first} {_before(moved)}{warning}\nTo undo: tokensieve rollback{_project(project)}"


def rolled_back_text(moved: dict[str, Any], project: str) -> str:
    """Return a rollback in words. `project` is the value of --project."""
    first = (
        f"Version {moved['version']} of '{moved['name']}' is the champion again{_figures(moved['figures'])}."
    )
    reasons = [f"{number} ({why})" for number, why in moved["skipped_why"].items()]
    skipped = f" Skipped: {', '.join(reasons)}." if reasons else ""
    if not moved["replaced"]:
        return first + skipped
    again = f'tokensieve promote --version {moved["replaced"]} --reason "..."{_project(project)}'
    return f"{first} {_before(moved)}{skipped}\nTo undo, with a reason: {again}"


def _before(moved: dict[str, Any]) -> str:
    other = ""
    if moved["same_data"] is False:
        gate = moved.get("gate_accuracy")
        same = f" On the same texts, the gate measured: {gate}." if gate else ""
        other = (
            f" The two versions have different data, so these were measured on different test texts.{same}"
        )
    return f"Before: version {moved['replaced']}{_figures(moved['replaced_figures'])}.{other}"


def _figures(figures: dict[str, float]) -> str:
    shown = ", ".join(f"{WORDS[key]} {value:.4f}" for key, value in figures.items() if key in WORDS)
    return f" ({shown})" if shown else ""


def _project(project: str) -> str:
    return "" if project == "." else f" --project {shlex.quote(project)}"
