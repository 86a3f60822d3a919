"""Compare the challenger of a retrain with the champion, and keep the report with the version."""

from __future__ import annotations

from dataclasses import replace

from tasks.artifacts import Registration
from tasks.promotion.gate import OFF, gate
from tasks.promotion.gate_report import GateReport
from tasks.promotion.move_champion import CHAMPION
from tasks.promotion.version_pair import VersionPair
from tasks.tracking.registered_files import open_reader
from tokensieve.files import read_json_or_none
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri
from tokensieve.settings import Settings


def gate_challenger(layout: Layout, settings: Settings) -> tuple[GateReport | None, bool]:
    """Return the report on the version that was registered last, and whether it is a new one.

    A new report is logged in MLflow. There is none if `gate.mode` is off, or if the version is the
    champion already.

    Raises:
        InputError: If the challenger cannot be loaded.
        RegistryError: If the registry does not respond.
    """
    if settings.gate.mode == OFF:
        return None, False
    uri, own = tracking_uri(layout, settings), Registration.load(layout.registration)
    registry = open_reader(uri, layout.served)
    champion = ((registry and registry.aliases(own.name)) or {}).get(CHAMPION)
    if registry is None or champion == own.version:
        return None, False
    before = GateReport.of(read_json_or_none(layout.gate))
    report = gate(VersionPair(layout, settings, registry, own.name, own.version, champion))
    after = GateReport.of(read_json_or_none(layout.gate))
    if before and after and replace(before, at=after.at) == after:
        return report, False
    from tasks.tracking.log_run import log_gate

    log_gate(uri, own, report)
    return report, True
