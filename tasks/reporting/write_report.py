"""Write the report of a run: with texts on disk, without them in MLflow."""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from pathlib import Path

from tasks.artifacts import Registration
from tasks.auditing.audit_report import NAME as AUDIT
from tasks.promotion.gate_report import GateReport
from tokensieve.files import read_json_or_none, sha256, write_json, write_text
from tokensieve.inference.manifest import NAME as MANIFEST
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri
from tokensieve.settings import Settings

log = logging.getLogger("tokensieve")


def is_current(layout: Layout) -> bool:
    """Return whether the report shows the present artifacts."""
    kept = read_json_or_none(layout.report_state)
    return bool(layout.report.exists() and kept == {"of": _state(layout)})


def write_report(layout: Layout, settings: Settings) -> Path:
    """Write artifacts/report.html, and log the report without texts to the run in MLflow.

    Raises:
        InputError: If nothing is registered, or an artifact is missing or damaged.
        RegistryError: If the registry does not respond.
    """
    # Here: a run in which nothing is stale imports none of them.
    from tasks.reporting.gather import gather
    from tasks.tracking.log_run import log_report, run_tags
    from tokensieve.report.page import render_page

    registered, uri = Registration.load(layout.registration), tracking_uri(layout, settings)
    report = gather(layout, settings, registered, run_tags(uri, registered.run_id))
    write_text(layout.report, render_page(report))
    log_report(uri, registered.run_id, render_page(report.without_texts()))
    layout.report_state.parent.mkdir(parents=True, exist_ok=True)
    write_json(layout.report_state, {"of": _state(layout)})
    return Path(layout.report)


def _state(layout: Layout) -> str:
    """Return a hash of what the report depends on.

    A gate that found the same again changes nothing.
    """
    files = (
        layout.validation / "report.json",
        layout.audit / AUDIT,
        layout.evaluation / "report.json",
        layout.mask / "report.json",
        layout.model / "history.jsonl",
        layout.onnx / MANIFEST,
        layout.race,
        layout.registration / Registration.NAME,
        layout.champion,
        layout.params,
    )
    gate = GateReport.of(read_json_or_none(layout.gate))
    parts = [version("tokensieve"), repr(gate and (gate.rows, gate.challenger, gate.champion))]
    parts += [sha256(path) if path.exists() else "" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
