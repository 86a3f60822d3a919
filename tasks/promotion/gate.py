"""The gate between challenger and champion: both exported models are tested on the same texts.

The report is made at the end of a retrain and kept, so that a promotion does not wait for it. It is
made again if the challenger, the champion, the test texts or the limits are others by then.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tasks.promotion.gate_report import GateReport
from tasks.promotion.locked_test import test_part_hash
from tasks.promotion.shadow_rule import with_shadow
from tasks.promotion.version_pair import VersionPair
from tokensieve.files import read_json_or_none, sha256, write_json
from tokensieve.project import Layout
from tokensieve.registry.store import RegistryEditor
from tokensieve.settings import Settings

# Tags of a version: the report as JSON, its outcome, and the champion that it was compared with.
REPORT, OUTCOME, CHAMPION = "tokensieve.gate.report", "tokensieve.gate", "tokensieve.gate.champion"
OFF, DRY_RUN = "off", "dry_run"
TEST = "test"  # of the basis: the hash of the test part; empty if the report was made without one

log = logging.getLogger("tokensieve")


def gate(pair: VersionPair, tags: Mapping[str, str] | None = None) -> GateReport:
    """Return the report on a challenger: the kept one if it is still valid, otherwise a new one.

    `tags` of the challenger may have a report that another machine made.

    Raises:
        InputError: If the challenger cannot be loaded.
        RegistryError: If the registry does not respond.
    """
    layout, limit = pair.layout, pair.settings.gate.min_shadow_agreement
    basis = _basis(pair)
    for tree in (read_json_or_none(layout.gate), _parsed((tags or {}).get(REPORT))):
        report = GateReport.of(tree)
        # What hindered a comparison may be over by now.
        if report and not report.not_compared and _holds(report.basis, basis):
            return with_shadow(report, layout, limit)
    from tasks.promotion.gate_measurement import new_report  # imports scikit-learn and ONNX Runtime

    report = new_report(pair, basis)
    layout.gate.parent.mkdir(parents=True, exist_ok=True)
    write_json(layout.gate, report.tree())
    return with_shadow(report, layout, limit)


def check_gate(
    layout: Layout,
    settings: Settings,
    registry: RegistryEditor,
    name: str,
    challenger: str,
    champion: str | None,
    force: bool = False,
) -> GateReport | None:
    """Return the report on a version that is to be promoted. None: `gate.mode` is off.

    Raises:
        Refused: If a rule refuses it, unless `gate.mode` is dry_run or `force` is set.
        InputError: If it cannot be loaded.
        RegistryError: If the registry does not respond.
    """
    if settings.gate.mode == OFF:
        return None
    tags = registry.version_tags(name, challenger)
    report = gate(VersionPair(layout, settings, registry, name, challenger, champion), tags)
    if settings.gate.mode != DRY_RUN and not force:
        report.check()
    elif report.refused:
        log.warning("%s; not enforced (%s)", report.headline(), "--force" if force else "dry run")
    return report


def _basis(pair: VersionPair) -> dict[str, str]:
    """Return what a report depends on."""
    limits = {key: value for key, value in asdict(pair.settings.gate).items() if key != "mode"}
    cases = pair.layout.cases

    def mark(number: str | None) -> str:
        found = pair.registry.version(pair.model, number) if number else None
        return f"{number} {found.mark if found else ''}"

    return {
        "model": pair.model,
        "challenger": mark(pair.challenger),
        "champion": mark(pair.champion),
        TEST: test_part_hash(pair.layout),
        "cases": sha256(cases) if cases.exists() else "",
        "limits": hashlib.sha256(json.dumps(limits, sort_keys=True).encode()).hexdigest(),
    }


def _holds(kept: Mapping[str, str], present: Mapping[str, str]) -> bool:
    """Return whether a report with the basis `kept` still holds.

    A machine without the texts, such as a new clone, uses a report from where they were.
    """
    if not present[TEST]:
        return bool(kept.get(TEST)) and {**kept, TEST: ""} == present
    return dict(kept) == present


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
