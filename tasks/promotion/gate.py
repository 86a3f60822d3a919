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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.artifacts import Registration
from tasks.promotion import gate_rules
from tasks.promotion.gate_report import GateReport, Row
from tasks.promotion.locked_test import locked_test, test_part_hash
from tasks.promotion.scored_version import score
from tasks.promotion.shadow_rule import with_shadow
from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none, sha256, write_json
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.project import Layout
from tokensieve.registry.models import RegisteredModel
from tokensieve.registry.store import RegistryError, RegistryReader
from tokensieve.settings import Settings

REPORT = "tokensieve.gate.report"  # tag of a version: the report as JSON
OFF, DRY_RUN = "off", "dry_run"
TEST = "test"  # of the basis: the hash of the test part; empty if the report was made without one

log = logging.getLogger("tokensieve")


def gate(
    layout: Layout,
    settings: Settings,
    registry: RegistryReader,
    name: str,
    challenger: str,
    champion: str | None,
    tags: Mapping[str, str] | None = None,
) -> GateReport:
    """Return the report on a challenger: the kept one if it is still valid, otherwise a new one.

    Args:
        layout: The project.
        settings: Its settings.
        registry: The registry of the model.
        name: The name of the registered model.
        challenger: The number of the version that may become the champion.
        champion: The number of the present champion. None: there is none.
        tags: The tags of the challenger. They may have a report that another machine made.

    Raises:
        InputError: If the challenger cannot be loaded.
        RegistryError: If the registry does not respond.
    """
    basis = _basis(layout, settings, registry, name, challenger, champion)
    for tree in (read_json_or_none(layout.gate), _parsed((tags or {}).get(REPORT))):
        report = GateReport.of(tree)
        # What hindered a comparison may be over by now.
        if report and not report.not_compared and _holds(report.basis, basis):
            return with_shadow(report, layout, settings.gate.min_shadow_agreement)
    report = _new_report(layout, settings, registry, name, challenger, champion, basis)
    layout.gate.parent.mkdir(parents=True, exist_ok=True)
    write_json(layout.gate, report.tree())
    return with_shadow(report, layout, settings.gate.min_shadow_agreement)


def _basis(
    layout: Layout,
    settings: Settings,
    registry: RegistryReader,
    name: str,
    challenger: str,
    champion: str | None,
) -> dict[str, str]:
    """Return what a report depends on."""
    limits = {key: value for key, value in asdict(settings.gate).items() if key != "mode"}
    found = {
        role: registry.version(name, number) if number else None
        for role, number in (("challenger", challenger), ("champion", champion))
    }
    return {
        "model": name,
        "challenger": f"{challenger} {found['challenger'].mark if found['challenger'] else ''}",
        "champion": f"{champion} {found['champion'].mark if found['champion'] else ''}",
        TEST: test_part_hash(layout),
        "cases": sha256(layout.cases) if layout.cases.exists() else "",
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


def _new_report(
    layout: Layout,
    settings: Settings,
    registry: RegistryReader,
    name: str,
    challenger: str,
    champion: str | None,
    basis: dict[str, str],
) -> GateReport:
    own = _folder(layout, registry, name, challenger)
    folder, reason = _champion_folder(layout, registry, name, champion)
    rows: list[Row] = []
    if folder:
        rows, reason = _comparison(layout, settings, {str(champion): folder, challenger: own})
    if layout.cases.exists():
        rows.append(gate_rules.behaviour(layout.cases, Predictor.load(own)))
    validation = read_json_or_none(layout.validation / "report.json")
    if validation and _is_present(layout, name, challenger):
        rows.append(gate_rules.data_checks(validation))
    if reason:
        rows.insert(0, Row("comparison", reason, "", "not possible"))
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return GateReport(name, challenger, champion, at, tuple(rows), reason, basis)


def _comparison(layout: Layout, settings: Settings, folders: Mapping[str, Path]) -> tuple[list[Row], str]:
    """Return the rows that compare the versions in `folders`, or why they cannot be compared.

    The champion is the first.
    """
    locked, limits = locked_test(layout, folders), settings.gate
    manifests = [Manifest.load(folder) for folder in folders.values()]
    if not len(locked.test):
        missing = (
            "the project has no test texts here" if not locked.trained else "all test texts were trained on"
        )
        return [gate_rules.changed_labels(*manifests)], missing
    if bool(manifests[0].thresholds) != bool(manifests[1].thresholds):
        return [], "one of the two is multi-label and the other is not"
    test, (champion, challenger) = score(list(folders.values()), locked, settings.finetune.threads or cores())
    if not len(test):
        return [gate_rules.changed_labels(*manifests)], "no test text has a label that both know"
    return [
        gate_rules.compared_texts(locked, test),
        *gate_rules.quality(test, champion, challenger, limits),
        *gate_rules.certainty(test, champion, challenger, limits),
        *gate_rules.cost(champion, challenger, limits),
        gate_rules.changed_labels(champion.manifest, challenger.manifest),
    ], ""


def _champion_folder(
    layout: Layout, registry: RegistryReader, name: str, champion: str | None
) -> tuple[Path | None, str]:
    """Return the folder of the champion, or None and why there is none."""
    if champion is None:
        return None, f"model '{name}' has no champion yet"
    try:
        return _folder(layout, registry, name, champion), ""
    except RegistryError:
        raise
    except InputError as error:
        return None, f"the champion, version {champion}, cannot be read ({error})"


def _folder(layout: Layout, registry: RegistryReader, name: str, version: str) -> Path:
    return RegisteredModel(f"models:/{name}/{version}", registry.uri, layout.served).fetch(version)


def _is_present(layout: Layout, name: str, version: str) -> bool:
    """Return whether the artifacts in the project are those of a version."""
    try:
        registration = Registration.load(layout.registration)
    except InputError:
        return False
    return (registration.name, registration.version) == (name, version)
