"""The report of a stage, if it is of the run that registered a version.

A later run writes its reports before it registers anything, and may end there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.artifacts import Registration
from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none, sha256
from tokensieve.project import Layout

REPORT = "report.json"


def report_hashes(layout: Layout) -> dict[str, str]:
    """Return the SHA-256 of the present reports, by the name of their folder."""
    folders = (layout.validation, layout.evaluation)
    return {folder.name: sha256(folder / REPORT) for folder in folders if (folder / REPORT).exists()}


def registered_report(layout: Layout, folder: Path, model: str, version: str) -> dict[str, Any] | None:
    """Return the report in `folder`, the output of validation or evaluation.

    None: there is none, or it is not of the run that registered the version.
    """
    try:
        registered = Registration.load(layout.registration)
    except InputError:
        return None
    if (registered.name, registered.version) != (model, version):
        return None
    # An earlier version of this package kept no hashes.
    if registered.reports and registered.reports.get(folder.name) != report_hashes(layout).get(folder.name):
        return None
    report: dict[str, Any] | None = read_json_or_none(folder / REPORT)
    return report
