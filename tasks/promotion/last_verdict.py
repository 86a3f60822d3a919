"""What the verdict on the last run advises against a version that is promoted."""

from __future__ import annotations

from tasks.artifacts import Registration
from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none
from tokensieve.project import Layout


def advice_against(layout: Layout, model: str, version: str) -> str:
    """Return why the verdict is against a promotion of a version.

    Empty: it is not, or the last run of the project registered another version, or none.
    """
    try:
        registered = Registration.load(layout.registration)
    except InputError:
        return ""
    if (registered.name, registered.version) != (model, version):
        return ""
    report, registration = layout.evaluation / "report.json", layout.registration / "registration.json"
    if report.exists() and report.stat().st_mtime > registration.stat().st_mtime:
        return ""  # of a later run that did not come to its registration
    verdict = (read_json_or_none(report) or {}).get("verdict")
    return "" if not verdict or verdict["promote"] else f"{verdict['good_for']}: {verdict['advice']}"
