"""Gather the content of the report from the files of the stages.

Runs of earlier versions lack some files: what depends on them is left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from safetensors.numpy import load_file

from tasks.artifacts import (
    Champion,
    FittedRule,
    MaskFacts,
    Registration,
    SplitSizes,
    TrainingFacts,
)
from tasks.auditing.audit_report import Audit
from tasks.promotion.gate_report import GateReport
from tasks.reporting import audit_findings, headline, origin, shown
from tasks.reporting.run_verdict import run_verdict
from tasks.split import load_labels, load_part
from tokensieve.data.examples import Examples
from tokensieve.data.labels import encode_targets
from tokensieve.evaluation.report import is_for_threshold
from tokensieve.files import read_json, read_json_or_none
from tokensieve.inference.decisions import DecisionRule
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.report.certainty import calibration, threshold_curve
from tokensieve.report.content import Build, ClassRow, Constructs, Epoch, Fact, Report
from tokensieve.report.mask_map import mask_map
from tokensieve.report.mistakes import class_rows, confusions, matrix
from tokensieve.settings import Settings

PHASES = {"head": "head only", "all": "all layers", "top": "top layers"}


def gather(layout: Layout, settings: Settings, registered: Registration, tags: Mapping[str, str]) -> Report:
    """Return the content of the report on the present artifacts.

    Args:
        layout: The project.
        settings: Its settings.
        registered: The version that the artifacts are registered as.
        tags: Of the run in MLflow.

    Raises:
        InputError: If an artifact is missing or damaged.
    """
    manifest, gate = Manifest.load(layout.onnx), _gate(layout, registered)
    race, validation = (read_json(path) for path in (layout.race, layout.validation / "report.json"))
    title = f"{registered.name} version {registered.version}"
    report = gather_model(layout, title, manifest, race, gate)
    audit = Audit.load_or_none(layout.audit)
    verdict = run_verdict(layout)
    return replace(
        report,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        champion=headline.champion_sentence(registered, Champion.load(layout.champion), gate),
        gate=headline.gate_table(gate),
        advice=headline.advice(verdict, gate),
        data=(
            *report.data,
            *origin.source_facts(layout, validation, manifest.data_hash),
            *(audit_findings.length_facts(audit) if audit else ()),
        ),
        audit=tuple(audit_findings.findings(audit)) if audit else (),
        warnings=tuple(shown.data_warnings(validation, read_json(layout.vocabulary / "report.json"))),
        epochs=tuple(_epochs(layout)),
        mask=_mask(layout),
        mask_facts=tuple(_mask_facts(layout)),
        lineage=tuple(origin.lineage_facts(layout, settings, registered, tags)),
        changed_settings=origin.changed_settings(settings),
        commands=tuple(
            origin.commands(
                layout, registered, headline.is_advised(verdict, gate), audit.to_correct if audit else 0
            )
        ),
        **_on_test_texts(layout, list(manifest.labels), audit.suggested_labels("test") if audit else {}),
    )


def gather_model(
    layout: Layout, title: str, manifest: Manifest, race: Mapping[str, Any], gate: GateReport | None = None
) -> Report:
    """Return the parts of the content that are about the exported model and its classes.

    `race` is the content of race.json, and `manifest` is that of the same export.
    """
    evaluated = read_json(layout.evaluation / "report.json")
    measured, facts = evaluated | race.get("served", {}), MaskFacts.load(layout.mask)
    rows, tested = race["variants"], SplitSizes.load(layout.split).test
    trained = (facts.trained_parameters, facts.total_parameters)
    return Report(
        title=title,
        made="",
        multi_label=bool(manifest.thresholds),
        advice=headline.advice(evaluated.get("verdict"), gate),
        figures=tuple(headline.figures(measured, race, manifest.variant, trained)),
        compared=tuple(headline.compared(evaluated)),
        data=tuple(origin.data_facts(layout, len(manifest.labels))),
        classes=_classes(layout, evaluated),
        builds=tuple(_builds(rows, manifest.variant)),
        build_head=(*shown.BUILDS[:-1], "state"),
        build_notes=(
            *shown.processors(manifest, race),
            *shown.timing(race),
            *shown.notes(rows, manifest.parity["texts"], tested),
        ),
        **_vocabulary(layout),
    )


def _gate(layout: Layout, registered: Registration) -> GateReport | None:
    """Return the gate's report if it is about this version."""
    found = GateReport.of(read_json_or_none(layout.gate))
    same = found and (found.model, found.challenger) == (registered.name, registered.version)
    return found if same else None


def _classes(layout: Layout, evaluated: Mapping[str, Any]) -> tuple[ClassRow, ...]:
    names, _ = load_labels(layout, "train")
    return class_rows(evaluated["per_class"], Counter(name for own in names for name in own))


def _on_test_texts(layout: Layout, labels: list[str], suggested: Mapping[int, str]) -> dict[str, Any]:
    """Return the fields of the report that are computed from the logits of the test texts.

    `suggested` are the labels that the audit suggests for some of them, by their row.
    """
    evaluated = read_json(layout.evaluation / "report.json")
    logits, test = load_file(layout.evaluation / "logits.safetensors"), load_part(layout, "test")
    fitted = FittedRule.load(layout.evaluation)
    rule = DecisionRule(fitted.temperature, fitted.threshold, fitted.margin, fitted.thresholds)
    targets = encode_targets(test.labels, labels, test.multi_label).numpy()
    oos = None
    if "oos" in logits:
        oos = logits["oos"][~is_for_threshold(load_part(layout, "oos").texts)]
    return {
        "confusions": confusions(_sorted(test), logits["test"], labels, rule, suggested),
        "matrix": matrix(test, logits["test"], labels),
        "calibration": calibration(logits["test"], targets, rule, evaluated),
        "threshold": threshold_curve(logits["test"], targets, oos, rule, evaluated.get("threshold_interval")),
    }


def _sorted(part: Examples) -> Examples:
    """Return the examples with the labels of each text in sorted order, as earlier versions saved
    them in any.
    """
    return replace(part, labels=[tuple(sorted(names)) for names in part.labels])


def _vocabulary(layout: Layout) -> dict[str, Any]:
    """Return the constructs per class, and what the vocabulary saved."""
    report = read_json(layout.vocabulary / "report.json")
    added = report["added"]
    facts = [
        Fact("constructs", f"{report['constructs']:,}", "words and phrases that distinguish the classes")
    ]
    if "fragmentation" in report:
        facts.append(_fragmentation(report["fragmentation"], report["tokens_before"]))
    if added:
        tokens = (
            f"{report['tokens_before']:,} before, {report['tokens_after']:,} after, in the training texts"
        )
        facts += [
            Fact("tokens saved", f"{report['saved']:.1%}", tokens),
            Fact(f"{len(added):,} new tokens", ", ".join(added[:60]) + (" …" if len(added) > 60 else "")),
        ]
    else:
        note = "vocabulary.new_tokens adds some; on no measured task did they raise the accuracy"
        facts.append(Fact("new tokens", "none", note))
    found = tuple(Constructs(label, tuple(words)) for label, words in report["per_class"].items())
    return {"constructs": found, "vocabulary": tuple(facts)}


def _fragmentation(found: Mapping[str, Any], tokens: int) -> Fact:
    """Return how many of the constructs are divided, and about what new tokens would save."""
    share = found["excess_tokens"] / max(tokens, 1)
    unknown = found.get("unknown", 0.0)  # earlier versions did not measure it
    return Fact(
        "divided words",
        f"{found['divided']:.1%} of the {found['words']:,} words among the constructs",
        f"{found['tokens_per_word']:.2f} tokens per word; one each would save about {share:.1%} of all "
        f"tokens{f'; the tokenizer does not know characters of {unknown:.1%}' if unknown else ''}",
    )


def _mask(layout: Layout) -> Any:
    report = read_json(layout.mask / "report.json")
    modules = {name: (chosen, of) for name, (chosen, of) in report.get("modules", {}).items()}
    return mask_map(modules, report.get("unit", "rows"))


def _mask_facts(layout: Layout) -> Iterator[Fact]:
    report, facts = read_json(layout.mask / "report.json"), MaskFacts.load(layout.mask)
    share = facts.trained_parameters / facts.total_parameters
    yield Fact(
        "trained weights",
        f"{facts.trained_parameters:,} of {facts.total_parameters:,} ({share:.1%})",
        "the head is among them",
    )
    if "score" in report:
        yield Fact(
            "chosen by", f"{report['score'].replace('_', ' ')}, within a budget of {report['budget']:.0%}"
        )
    if facts.is_far:
        yield Fact("schedule", "all layers in every epoch", "the task is far from what the base model knows")


def _epochs(layout: Layout) -> Iterator[Epoch]:
    lines = (layout.model / "history.jsonl").read_text(encoding="utf-8").splitlines()
    known = (layout.model / TrainingFacts.NAME).exists()
    phases = TrainingFacts.load(layout.model).phases if known else [""] * len(lines)
    for line, phase in zip(lines, phases, strict=True):
        row = json.loads(line)
        yield Epoch(
            number=row["epoch"],
            train_loss=row["train_loss"],
            validation_loss=row["validation_loss"],
            validation_accuracy=row["validation_accuracy"],
            phase=PHASES.get(phase, phase),
        )


def _builds(rows: list[dict[str, Any]], served: str) -> Iterator[Build]:
    for row, cells in zip(rows, shown.builds(rows, served), strict=True):
        yield Build(row["variant"], row["milliseconds"], shown.state(row, served), cells)
