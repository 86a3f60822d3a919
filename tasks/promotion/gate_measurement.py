"""Measure a challenger for the gate.

Both exported packages are fetched and tested on the same texts, and the rules are applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tasks.promotion import gate_rules
from tasks.promotion.gate_report import GateReport, Row
from tasks.promotion.locked_test import locked_test
from tasks.promotion.registered_report import registered_report
from tasks.promotion.scored_version import score
from tasks.promotion.version_pair import VersionPair
from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.project import Layout
from tokensieve.registry.models import RegisteredModel
from tokensieve.registry.store import SERVED, RegistryError, RegistryReader, local_path
from tokensieve.settings import Settings


def new_report(pair: VersionPair, basis: Mapping[str, str]) -> GateReport:
    """Return the report on a challenger, measured afresh. It depends on `basis`.

    Raises:
        InputError: If the challenger cannot be loaded.
        RegistryError: If the registry does not respond.
    """
    layout, challenger = pair.layout, pair.challenger
    folder, reason = _champion_folder(layout, pair.registry, pair.model, pair.champion)
    rows: list[Row] = []
    limit = pair.settings.gate.min_accuracy
    if folder or limit or layout.cases.exists():
        own = _folder(layout, pair.registry, pair.model, challenger)
    if folder:
        rows, reason = _comparison(layout, pair.settings, {str(pair.champion): folder, challenger: own})
    if limit:
        test = locked_test(layout, {challenger: own}).test
        rows.append(gate_rules.minimum_accuracy(test, Predictor.load(own), limit))
    if layout.cases.exists():
        rows.append(gate_rules.behaviour(layout.cases, Predictor.load(own)))
    if validation := registered_report(layout, layout.validation, pair.model, challenger):
        rows.append(gate_rules.data_checks(validation))
    if reason:
        rows.insert(0, Row("comparison", reason, "", "not possible"))
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return GateReport(pair.model, challenger, pair.champion, at, tuple(rows), reason, basis)


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
    """Return the exported folder of a version. It is downloaded unless it is on this machine."""
    found = registry.version(name, version)
    local = local_path(found.location) if found else None
    if local:
        Manifest.load(local / SERVED)
        return local / SERVED
    return RegisteredModel(f"models:/{name}/{version}", registry.uri, layout.served).fetch(version)
