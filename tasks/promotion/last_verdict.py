"""What the verdict on the last run advises against a version that is promoted."""

from __future__ import annotations

from tasks.promotion.registered_report import registered_report
from tokensieve.project import Layout


def advice_against(layout: Layout, model: str, version: str) -> str:
    """Return why the verdict is against a promotion of a version.

    Empty: it is not, or the evaluation in the project is of another run.
    """
    verdict = (registered_report(layout, layout.evaluation, model, version) or {}).get("verdict")
    return "" if not verdict or verdict["promote"] else f"{verdict['good_for']}: {verdict['advice']}"
