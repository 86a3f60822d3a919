from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tasks.artifacts import Champion, Registration
from tasks.auditing.audit_report import AuditedRow, LabelError
from tasks.promotion.gate_report import GateReport, Row
from tasks.reporting.gather import gather
from tasks.reporting.origin import changed_settings
from tests.tasks.reporting.conftest import HASH
from tests.tasks.reporting.test_audit_findings import NOTHING, ROW, audit
from tokensieve.files import read_json, write_json
from tokensieve.project import Layout
from tokensieve.report.content import Report
from tokensieve.settings import Settings

TAGS = {
    "mlflow.source.git.commit": "c0ffee",
    "tokensieve.git.changed": "params.yaml",
    "tokensieve.lock_hash": "beef",
}


def gathered(layout: Layout, **settings: dict[str, Any]) -> Report:
    return gather(layout, Settings.of(settings), Registration.load(layout.registration), TAGS)


def named(facts: tuple[Any, ...]) -> dict[str, str]:
    return {fact.name: fact.value for fact in facts}


def test_the_verdict_and_the_figures_of_the_served_build_are_on_top(layout: Layout) -> None:
    report = gathered(layout)
    assert report.title == "cards version 2"
    assert report.advice is not None
    assert (report.advice.is_good, report.advice.title) == (True, "answers by itself")
    shown = named(report.figures)
    assert (shown["test accuracy"], shown["macro F1"], shown["per text"]) == ("75.0%", "70.0%", "4.5 ms")
    assert [(one.name, one.value) for one in report.compared] == [
        ("this model", 0.75),
        ("most frequent class", 0.5),
    ]
    assert report.champion == "there is no champion yet"
    assert named(report.commands)["promote it"] == f"tokensieve promote --project {layout.root} --version 2"


def test_a_refusal_of_the_gate_is_the_advice(layout: Layout) -> None:
    rows = (Row("accuracy", "-0.050", "-0.010", "significantly worse", refuses=True),)
    write_json(layout.gate, GateReport("cards", "2", "1", "2026-01-02", rows).tree())
    report = gathered(layout)
    assert report.advice is not None
    assert report.advice.is_good is False
    assert report.advice.promote == "the gate refuses it (accuracy: -0.050, significantly worse)"
    assert report.champion.startswith("version 2 of model 'cards' is refused against champion 1")
    assert report.gate is not None
    assert report.gate.rows == (("accuracy", "-0.050", "-0.010", "SIGNIFICANTLY WORSE"),)
    assert not any("promote" in command for command in named(report.commands).values())


def test_a_gate_report_about_another_version_is_left_out(layout: Layout) -> None:
    write_json(layout.gate, GateReport("cards", "1", None, "2026-01-02", ()).tree())
    Champion("cards", "2", ("bill", "card"), "x").save(layout.champion)
    report = gathered(layout)
    assert report.gate is None
    assert report.champion == "this version is the champion"


def test_settings_are_shown_as_they_are_written() -> None:
    settings = Settings.of({"data": {"text_column": ["subject", "body"], "normalize_labels": True}})
    assert changed_settings(settings) == {
        "data.text_column": '["subject", "body"]',
        "data.normalize_labels": "true",
    }


def test_data_and_lineage_name_their_sources_without_passwords(layout: Layout) -> None:
    report = gathered(layout, finetune={"max_epochs": 3})
    data, lineage = named(report.data), named(report.lineage)
    assert data["texts"] == "train 2, validation 2, test 4"
    assert data["source"] == "https://host/x.csv"
    assert data["left out of the split"] == "duplicate 5"
    assert data["without a label"] == "3"
    assert data["longer than the model reads"] == "25.0% of 8 texts"
    assert report.warnings == ("train, few: 'bill' has 2 rows",)
    assert (lineage["git commit of the project"], lineage["SHA-256 of dvc.lock"]) == ("c0ffee", "beef")
    assert lineage["git commit of tokensieve"] == "abc123"
    assert report.changed_settings == {"finetune.max_epochs": "3"}
    assert not any(fact.link for fact in report.lineage)


def test_data_after_a_review_name_what_changed_them(layout: Layout) -> None:
    path = layout.validation / "report.json"
    merged = {
        "name": "lookalike",
        "part": "train",
        "passed": True,
        "changed": True,
        "message": "1 label merged",
    }
    write_json(path, read_json(path) | {"checks": [merged]})
    version = {"data_hash": HASH, "date": "2026-01-02T03:04:05", "source": "x.csv, reviewed", "rows": {}}
    layout.versions.write_text(json.dumps(version | {"parent": "before"}) + "\n")
    report = gathered(layout)
    (source,) = (fact for fact in report.data if fact.name == "source")
    assert source.value == "x.csv, reviewed"
    assert source.note == "added 2026-01-02 03:04 UTC; lines and rows are those of data/raw"
    assert named(report.data)["changed by the settings"] == "1 label merged"
    assert report.warnings == ()


def test_the_version_on_an_mlflow_server_is_linked(layout: Layout) -> None:
    report = gathered(layout, register={"uri": "https://me:secret@mlflow.example/base/"})
    links = [fact.link for fact in report.lineage if fact.link]
    assert links == [
        "https://mlflow.example/base/#/models/cards/versions/2",
        f"https://mlflow.example/base/#/runs/{'0' * 32}",
    ]


def test_mistakes_and_certainty_are_of_the_test_texts(layout: Layout) -> None:
    report = gathered(layout)
    (wrong,) = report.confusions
    assert (wrong.true, wrong.predicted, wrong.texts[0].text) == ("bill", "card", "my private words")
    assert [row.label for row in report.classes] == ["bill", "card"]
    assert report.matrix is not None
    assert report.matrix.counts == ((1, 1), (0, 2))
    assert report.threshold is not None
    assert report.threshold.chosen == 0.8
    assert report.calibration is not None
    assert sum(texts for _, _, texts in report.calibration.after) == 4


def test_the_audit_adds_its_findings_and_its_remedy(layout: Layout) -> None:
    totals = {**NOTHING["totals"], "label_errors": 1}
    errors = (LabelError(ROW, "card", 0.02, 0.91),)
    layout.audit.mkdir(parents=True)
    audit(totals=totals, label_errors=errors, judged=10).save(layout.audit)
    report = gathered(layout)
    assert [finding.title for finding in report.audit] == ["1 likely label error"]
    assert report.advice is not None
    assert report.advice.remedies[0].startswith("corrected labels: 1 label is likely wrong")
    added = f"tokensieve data add --project {layout.root} --review {layout.audit / 'review.csv'}"
    assert named(report.commands)["correct it"] == added
    again = f"tokensieve run --project {layout.root}"
    assert named(report.commands)["train again with the right labels"] == again
    assert named(report.data)["tokens per text"] == "12 in the middle, 30 at most for 99%"


def test_a_mistake_whose_label_the_audit_doubts_is_marked(layout: Layout) -> None:
    wrong = AuditedRow("x.csv", 2, "test", ("bill",), "my private words")
    errors = (
        LabelError(replace(wrong, part="train"), "track", 0.02, 0.9),
        LabelError(wrong, "card", 0.1, 0.8),
    )
    layout.audit.mkdir(parents=True)
    totals = NOTHING["totals"] | {"label_errors": 2}
    audit(totals=totals, label_errors=errors).save(layout.audit)
    assert [text.suggested for text in gathered(layout).confusions[0].texts] == ["card"]
    audit(totals=totals, label_errors=errors, agreement=0.5).save(layout.audit)
    assert [text.suggested for text in gathered(layout).confusions[0].texts] == [""]


def test_training_and_mask_are_shown_by_phase_and_layer(layout: Layout) -> None:
    report = gathered(layout)
    assert [(epoch.number, epoch.phase) for epoch in report.epochs] == [(1, "head only"), (2, "all layers")]
    assert report.mask is not None
    assert report.mask.shares == ((0.3, 0.1),)
    assert named(report.vocabulary)["tokens saved"] == "10.0%"
    assert named(report.vocabulary)["divided words"] == "10.0% of the 40 words among the constructs"
    assert [(one.label, one.constructs) for one in report.constructs] == [
        ("bill", ("pay",)),
        ("card", ("lost",)),
    ]


def test_a_vocabulary_without_new_tokens_is_named(layout: Layout) -> None:
    path = layout.vocabulary / "report.json"
    without = read_json(path) | {"added": [], "tokens_before": 100, "tokens_after": 100}
    write_json(path, without)
    facts = {fact.name: fact for fact in gathered(layout).vocabulary}
    assert facts["new tokens"].value == "none"
    saved = "1.25 tokens per word; one each would save about 12.0% of all tokens"
    assert facts["divided words"].note == saved
    unknown = without["fragmentation"] | {"unknown": 0.5}
    write_json(path, without | {"fragmentation": unknown})
    facts = {fact.name: fact for fact in gathered(layout).vocabulary}
    assert facts["divided words"].note == f"{saved}; the tokenizer does not know characters of 50.0%"
    del without["fragmentation"]  # of an earlier version
    write_json(path, without)
    assert "divided words" not in named(gathered(layout).vocabulary)


def test_what_earlier_versions_did_not_write_is_left_out(layout: Layout) -> None:
    path = layout.evaluation / "report.json"
    old = {key: value for key, value in read_json(path).items() if key not in ("baselines", "verdict")}
    write_json(path, {key: value for key, value in old.items() if "interval" not in key})
    (layout.model / "training.json").unlink()
    write_json(layout.mask / "report.json", {"shape": "rows"})
    race = json.loads((layout.onnx / "race.json").read_text(encoding="utf-8"))
    del race["served"], race["threads"]
    write_json(layout.onnx / "race.json", race)
    report = gathered(layout)
    assert (report.advice, report.compared, report.mask) == (None, (), None)
    assert [epoch.phase for epoch in report.epochs] == ["", ""]
    assert named(report.figures)["test accuracy"] == "75.0%"
