"""The summary of a run, and its table.

It is read from the files of the stages, so it is the same whichever stages ran.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.audit_text import audit_lines
from tasks.artifacts import MaskFacts, Registration, SplitSizes
from tasks.auditing.audit_report import Audit
from tasks.promotion.gate_report import GateReport, text_table
from tasks.reporting.headline import is_advised
from tasks.reporting.next_steps import next_steps, see_run, shown
from tasks.reporting.run_verdict import run_verdict
from tasks.reporting.shown import BUILDS, builds, data_notes, data_warnings, notes
from tasks.tracking.registry_check import confirmed
from tokensieve.evaluation.weak_class import WeakClass
from tokensieve.files import read_json
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri, without_password
from tokensieve.settings import Settings

STEPS = ("gate", "report")  # after the stages: they are not named if there was nothing to do
MLFLOW_UI = "http://127.0.0.1:5000"  # its default address
MIN_RISE = 0.005  # rise of the calibration error from which the summary warns


def summarize(
    layout: Layout, settings: Settings, seconds: dict[str, float | None], report: GateReport | None
) -> dict[str, Any]:
    """Return the summary as one JSON object.

    `seconds` is the duration of each stage, None for skipped stages. `report` is that of the gate.

    Raises:
        InputError: If the registry does not have the version that it names.
    """
    registration, manifest = confirmed(layout, settings), Manifest.load(layout.onnx)
    mask, sizes = MaskFacts.load(layout.mask), SplitSizes.load(layout.split)
    validation, vocabulary = (
        read_json(folder / "report.json") for folder in (layout.validation, layout.vocabulary)
    )
    race = read_json(layout.race)
    torch = _numbers(evaluated := read_json(layout.evaluation / "report.json"))
    # Earlier versions did not measure the served build: the figures are then those of PyTorch.
    served = _numbers(race.get("served", torch))
    shown = {**torch, **served}
    return {
        **shown,
        "calibration_is_worse": _is_worse(shown),
        "torch": {key: value for key, value in torch.items() if key in served},
        "rows": {"train": sizes.train, "validation": sizes.validation, "test": sizes.test},
        "trained_parameters": mask.trained_parameters,
        "total_parameters": mask.total_parameters,
        "tokens_saved": vocabulary["saved"],
        "warnings": [*data_warnings(validation, vocabulary), *_calibration_warning(shown)],
        **_changes(validation),
        "seconds": {name: round(taken, 2) for name, taken in seconds.items() if taken is not None},
        "skipped": [name for name, taken in seconds.items() if taken is None and name not in STEPS],
        "data_hash": manifest.data_hash,
        "model_name": registration.name,
        "model_version": registration.version,
        "model_dir": str(layout.onnx),
        "run_page": _run_page(registration, without_password(tracking_uri(layout, settings))),
        "report": str(layout.report),
        "variant": manifest.variant,
        "race": race["variants"],
        "parity": dict(manifest.parity),
        **_judged(layout, evaluated),
        "gate": report.tree() if report else None,
    }


def _changes(validation: dict[str, Any]) -> dict[str, Any]:
    """Return what the settings changed in the data, and the texts that are cut off."""
    return {
        "notes": data_notes(validation),
        "unlabelled": sum(validation.get("unlabelled", {}).values()),
        "truncated": validation.get("truncated", {}),
    }


def _judged(layout: Layout, evaluated: dict[str, Any]) -> dict[str, Any]:
    """Return baselines, verdict, audit and the number of likely label errors."""
    audit = Audit.load_or_none(layout.audit)
    return {
        "label_errors": audit.to_correct if audit else 0,
        "baselines": evaluated.get("baselines"),
        "verdict": run_verdict(layout),
        "audit": audit_lines(layout),
    }


def _run_page(registration: Registration, registry: str) -> str:
    """Return the address of the run in MLflow's pages; for a database, as `mlflow ui` has them."""
    return registration.run_page(registry if registry.startswith("http") else MLFLOW_UI)


def _numbers(report: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers (None if not measured) and intervals of a report, without class tables."""
    return {
        key: value
        for key, value in report.items()
        if key.endswith("_interval") or not isinstance(value, (dict, list))
    }


def _is_worse(figures: dict[str, Any]) -> bool:
    return bool(figures["test_ece"] > figures["test_ece_before"] + MIN_RISE)


def _calibration_warning(figures: dict[str, Any]) -> list[str]:
    """Return a warning if temperature scaling raised the calibration error on the test texts."""
    if not _is_worse(figures):
        return []
    before, after = figures["test_ece_before"], figures["test_ece"]
    texts = figures.get("calibration_texts")
    fitted = f" The temperature was fitted on {texts:,} texts." if texts is not None else ""
    return [
        f"scaling by temperature {figures['temperature']:.2f} made the calibration error on the test texts "
        f"worse, from {before:.4f} to {after:.4f}.{fitted} More validation texts make the fit more certain."
    ]


def summary_text(result: dict[str, Any], layout: Layout) -> str:
    """Return the summary as text: figures, exported builds, warnings and the next commands."""
    from rich.console import Console
    from rich.table import Table

    output = io.StringIO()
    # A fixed width without a terminal, so that logs stay readable.
    console = Console(file=output, width=min(120, max(80, Console(stderr=True).width)), highlight=False)
    if verdict := result.get("verdict"):
        console.print(verdict_text(verdict), markup=False, soft_wrap=True)
        console.print()
    title = f"{result['model_name']} version {result['model_version']}"
    table = Table("figure", "value", title=title, title_justify="left")
    for figure in figures(result):
        table.add_row(*figure)
    console.print(table)
    table = Table(*BUILDS)
    for cells in builds(result["race"], result["variant"]):
        table.add_row(*cells)
    console.print(table)
    for note in notes(result["race"], result["parity"]["texts"], result["rows"]["test"]):
        console.print(note, markup=False, soft_wrap=True)
    if report := GateReport.of(result.get("gate")):
        gate = report.headline() if report.not_compared else f"{report.headline()}\n{text_table(report)}"
        console.print(f"\n{gate}", markup=False, soft_wrap=True)
    for line in result.get("audit", []):
        console.print(line, markup=False, soft_wrap=True)
    for warning in result["warnings"]:
        console.print("warning:", warning, markup=False, soft_wrap=True)
    console.print(_next_steps(result, layout), markup=False, soft_wrap=True)
    return output.getvalue().rstrip()


def figures(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each figure. In brackets: the 95% confidence interval."""
    rows, torch = result["rows"], result.get("torch", {})
    for key in ("test_accuracy", "test_exact_match", "test_micro_f1", "test_macro_f1"):
        if key in result:
            other = f"; PyTorch {torch[key]:.4f}" if torch.get(key, result[key]) != result[key] else ""
            yield (
                key.replace("_", " ").replace("f1", "F1"),
                f"{result[key]:.4f}{_interval(result, key)}{other}",
            )
    yield from _baselines(result)
    worse = ": worse" if result.get("calibration_is_worse") else ""
    error = f"{result['test_ece']:.4f}{_interval(result, 'test_ece')}"
    yield "calibration error", f"{error}; without scaling {result['test_ece_before']:.4f}{worse}"
    if result["accepted_accuracy"] is not None:
        kept = f"{result['coverage']:.1%} of the test texts, {result['accepted_accuracy']:.4f} of them right"
        yield f"confident answers (≥ {result['threshold']:.3f})", kept
    if "calibration_texts" in result:
        oos = (
            f" and {result['calibration_oos_texts']:,} out of scope"
            if result["calibration_oos_texts"]
            else ""
        )
        crossed = " (training texts among them)" if result["calibration_texts"] > rows["validation"] else ""
        yield (
            "confidence threshold",
            (
                f"{result['threshold']:.3f}{_interval(result, 'threshold')}, "
                f"fitted on {result['calibration_texts']:,} texts{crossed}{oos}"
            ),
        )
    if result["oos_recall"] is not None:
        of = f" of {result['oos_texts']:,} texts" if "oos_texts" in result else ""
        yield "out-of-scope recall", f"{result['oos_recall']:.1%}{of}"
    yield "trained parameters", f"{result['trained_parameters']:,} of {result['total_parameters']:,}"
    yield "texts", ", ".join(f"{name} {count:,}" for name, count in rows.items())
    if result["tokens_saved"]:
        yield "tokens saved by new vocabulary", f"{result['tokens_saved']:.1%}"
    yield f"served build: {result['variant']}", _agreement(result)
    yield "seconds", _seconds(result)
    if result["skipped"]:
        yield "unchanged", ", ".join(result["skipped"])
    yield "data hash", result["data_hash"]


def verdict_text(verdict: dict[str, Any]) -> str:
    """Return the verdict as a sentence that starts with a capital letter."""
    sentence: str = verdict["sentence"]
    return sentence[:1].upper() + sentence[1:]


def _baselines(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the baselines reach on the test texts, and the weakest classes."""
    names = {"tfidf": "TF-IDF and linear SVM", "majority": "most frequent class"}
    for name, baseline in (result.get("baselines") or {}).items():
        if baseline:
            low, high = baseline["accuracy_interval"]
            yield f"baseline: {names[name]}", f"{baseline['accuracy']:.4f} ({low:.3f} to {high:.3f})"
    verdict = result.get("verdict") or {}
    if weakest := [WeakClass(**row) for row in verdict.get("weakest", ())]:
        yield "weakest classes", "; ".join(map(str, weakest))
    if verdict.get("tested_on_one"):
        yield "classes tested on 1 text", f"{verdict['tested_on_one']:,}"


def _agreement(result: dict[str, Any]) -> str:
    """Return how often the served build agrees with PyTorch."""
    parity = result["parity"]
    agreed = f"as PyTorch on {parity['agreement']:.2%} of {parity['texts']:,.0f} texts"
    if "confident_texts" not in parity:
        return agreed
    share, texts, proven = (
        parity[key] for key in ("confident_agreement", "confident_texts", "proven_agreement")
    )
    return f"{agreed}, on {share:.2%} of {texts:,.0f} confident answers (at least {proven:.1%})"


def _interval(result: dict[str, Any], key: str) -> str:
    """Return the 95% confidence interval of a figure in brackets. Empty if it has none."""
    if f"{key}_interval" not in result:
        return ""
    low, high = result[f"{key}_interval"]
    return f" ({low:.3f} to {high:.3f})"


def _seconds(result: dict[str, Any]) -> str:
    """Return the seconds of each stage and, for a run from the command line, of the whole run."""
    taken = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result["seconds"].items()) or "none"
    if "total_seconds" not in result:
        return taken
    rest = result["outside_seconds"] - result["start_seconds"]
    outside = (
        f"start {result['start_seconds']:.1f} (imports and the Prefect server), "
        f"checks and bookkeeping {rest:.1f}"
    )
    return f"{taken}; {outside}; total {result['total_seconds']:.1f}"


def _next_steps(result: dict[str, Any], layout: Layout) -> str:
    """Return the commands and files for the next steps."""
    here, page = Path.cwd(), result.get("run_page", "")
    labels = ("confusions ", "confusion.png") if "test_accuracy" in result else ("each label ", "labels.png")
    run = f"\nthe run       {page}" if page else ""
    if page.startswith(MLFLOW_UI) and (ui := see_run(layout, here)):
        run = f"\nthe run       {ui}\n  then open   {page}"
    advised = is_advised(result.get("verdict"), GateReport.of(result.get("gate")))
    errors = result.get("label_errors", 0)
    steps = "\n".join(
        f"{step.name:<14}{f'{step.note}, then: ' if step.note else ''}{step.value}"
        for step in next_steps(layout, result["model_version"], advised, errors, here)
    )
    return f"""
{steps}
the data      {shown(layout.validation / "docs" / "index.html", here)}
the mask      {shown(layout.mask / "mask.png", here)}
{labels[0]}   {shown(layout.evaluation / labels[1], here)}{run}
the report    {shown(layout.report, here)}"""
