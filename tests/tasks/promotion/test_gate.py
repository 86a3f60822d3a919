"""The gate on small models whose answers follow from single words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts import Registration
from tasks.promotion import gate as gates
from tasks.promotion import gate_measurement, scored_version
from tasks.promotion.gate import REPORT, gate
from tasks.promotion.gate_report import GateReport
from tasks.promotion.registered_report import report_hashes
from tasks.promotion.version_pair import VersionPair
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError, Refused
from tokensieve.project import Layout
from tokensieve.registry.store import ModelVersion, RegistryError
from tokensieve.settings import Settings

WORDS = [f"word{number}" for number in range(40)]
LABELS = ["a", "b", "c", "d"]
RIGHT = {word: LABELS[number % 4] for number, word in enumerate(WORDS)}
# Ten words of each label, in ten sentences each.
TEXTS = [(f"{word} in sentence{number}", label) for word, label in RIGHT.items() for number in range(10)]
SETTINGS = Settings()


class Registry:
    """A registry whose versions are folders."""

    uri = "sqlite:///registry.db"

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.run = "first"

    def version(self, name: str, number: str) -> ModelVersion | None:
        if number not in self.folders:
            return None
        mark = hashlib.sha256(f"{self.run} {self.folders[number]}".encode()).hexdigest()
        return ModelVersion(mark, "", 0)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "project")
    layout.split.mkdir(parents=True)
    write_test(layout, TEXTS)
    return layout


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry()

    def folder(layout: Layout, registry: Registry, name: str, version: str) -> Path:
        if version not in registry.folders:
            raise InputError("its files are gone")
        return registry.folders[version]

    monkeypatch.setattr(gate_measurement, "_folder", folder)
    # Times of microseconds vary.
    monkeypatch.setattr(scored_version, "latencies", lambda predictors, _: [1.0] * len(predictors))
    return found


@pytest.fixture
def judged(
    layout: Layout, registry: Registry, tmp_path: Path, export_words: Callable[..., Path]
) -> Callable[..., GateReport]:
    """Compare a challenger with the words `changed` against a champion that is right."""

    def judge(
        changed: dict[str, str] | None = None, settings: Settings = SETTINGS, **challenger: Any
    ) -> GateReport:
        count = len(list(tmp_path.iterdir()))
        registry.folders["1"] = export_words(tmp_path / f"champion{count}", RIGHT, LABELS)
        given = {"labels": LABELS} | challenger
        registry.folders["2"] = export_words(
            tmp_path / f"challenger{count}", RIGHT | (changed or {}), **given
        )
        return gate(VersionPair(layout, settings, registry, "words", "2", "1"))  # type: ignore[arg-type]

    return judge


def write_test(layout: Layout, texts: list[tuple[str, Any]], oos: tuple[str, ...] = ()) -> None:
    Examples.of([text for text, _ in texts], [label for _, label in texts]).save(layout.split / "test.jsonl")
    Examples.of(oos).save(layout.split / "oos.jsonl")


def verdicts(report: GateReport) -> dict[str, str]:
    return {row.rule: row.verdict for row in report.rows}


def refusing(report: GateReport) -> list[str]:
    return [row.rule for row in report.reasons]


def with_gate(**values: Any) -> Settings:
    return replace(SETTINGS, gate=replace(SETTINGS.gate, **values))


def test_an_equal_challenger_passes(judged: Callable[..., GateReport]) -> None:
    report = judged()
    assert (report.outcome, report.refused, report.not_compared) == ("passed", False, "")
    assert verdicts(report) == {
        "texts": "same for both",
        "accuracy": "no measurable change",
        "macro F1": "no measurable change",
        "classes": "no measurable change",
        "calibration error": "within the limit",
        "confident answers": "within the limit",
        "latency": "within the limit",
        "size": "within the limit",
        "labels": "unchanged",
    }
    report.check()


def test_a_worse_challenger_is_refused_and_the_rules_are_named(judged: Callable[..., GateReport]) -> None:
    report = judged({"word0": "b", "word5": "c", "word10": "d"})
    assert refusing(report)[:2] == ["accuracy", "macro F1"]
    with pytest.raises(
        Refused, match=r"version 2 of model 'words' is refused .*accuracy: .*--force"
    ) as caught:
        report.check()
    assert "SIGNIFICANTLY WORSE" in caught.value.detail
    assert caught.value.detail.splitlines()[0].split() == ["rule", "value", "limit", "verdict"]


def test_a_better_challenger_passes(
    judged: Callable[..., GateReport], registry: Registry, layout: Layout
) -> None:
    judged({"word0": "b", "word5": "c", "word10": "d"})
    report = gate(VersionPair(layout, SETTINGS, registry, "words", "1", "2"))  # type: ignore[arg-type]
    assert verdicts(report)["accuracy"] == "better"
    assert report.outcome == "passed"


def test_one_class_that_falls_refuses(judged: Callable[..., GateReport]) -> None:
    report = judged({"word0": "b"}, with_gate(margin=0.05))
    assert refusing(report) == ["classes"]
    assert "a -10.0 points (10 of 100 lost, 0 won)" in report.reasons[0].value


def test_texts_that_one_was_trained_on_are_left_out(judged: Callable[..., GateReport]) -> None:
    # In other letters and with spaces: copies, as for the split.
    known = [f" {text.upper()}" for text, _ in TEXTS if text.startswith(("word0 ", "word5 ", "word10 "))]
    report = judged({"word0": "b", "word5": "c", "word10": "d"}, trained=known)
    assert report.outcome == "passed"
    assert report.rows[0].value == "370 test texts; left out: 30 that one of them was trained on"


def test_a_version_without_hashes_is_compared_and_named(judged: Callable[..., GateReport]) -> None:
    row = judged(trained=None).rows[0]
    assert "version 2 keeps no list of its training texts" in row.value
    assert (row.verdict, row.refuses) == ("may favour it", False)


def test_texts_with_new_labels_are_left_out_and_labels_named(
    judged: Callable[..., GateReport], layout: Layout
) -> None:
    write_test(layout, [*TEXTS, *((f"fresh text{number}", "e") for number in range(50))])
    report = judged({"fresh": "e"}, labels=[*LABELS, "e"])
    assert report.outcome == "passed"
    assert "left out: 50 with labels that one of them lacks" in report.rows[0].value
    (labels,) = [row for row in report.rows if row.rule == "labels"]
    assert (labels.value, labels.verdict) == ("new: e", "changed")


def test_a_gain_can_be_demanded(judged: Callable[..., GateReport]) -> None:
    report = judged(settings=with_gate(min_gain=0.01))
    assert refusing(report) == ["gain"]
    assert report.reasons[0].limit == "at least +1.0 points (gate.min_gain)"


def test_a_minimum_accuracy_holds_without_a_champion_too(
    layout: Layout, registry: Registry, tmp_path: Path, export_words: Callable[..., Path]
) -> None:
    def first(limit: float) -> GateReport:
        return gate(VersionPair(layout, with_gate(min_accuracy=limit), registry, "words", "2", None))  # type: ignore[arg-type]

    registry.folders["2"] = export_words(tmp_path / "two", RIGHT | {"word0": "b", "word5": "c"}, LABELS)
    assert verdicts(first(0.0)) == {"comparison": "not possible"}
    assert verdicts(first(0.95)) == {"comparison": "not possible", "minimum accuracy": "reached"}
    report = first(0.96)
    assert report.outcome == "refused"
    (row,) = report.reasons
    assert (row.value, row.limit, row.verdict) == (
        "0.9500 (380 of 400 test texts)",
        "at least 0.9600 (gate.min_accuracy)",
        "too low",
    )
    # A label that it lacks.
    write_test(layout, [*TEXTS, *((f"fresh text{number}", "e") for number in range(100))])
    assert first(0.96).reasons[0].value == "0.7600 (380 of 500 test texts)"


def test_a_minimum_accuracy_holds_beside_the_comparison(judged: Callable[..., GateReport]) -> None:
    report = judged({"word0": "b"}, with_gate(margin=0.5, min_accuracy=0.99))
    assert refusing(report) == ["minimum accuracy"]
    assert not judged(settings=with_gate(min_accuracy=1.0)).refused


def test_a_minimum_accuracy_that_cannot_be_measured_refuses(
    layout: Layout, registry: Registry, tmp_path: Path, export_words: Callable[..., Path]
) -> None:
    registry.folders["2"] = export_words(tmp_path / "two", RIGHT, LABELS, trained=[text for text, _ in TEXTS])
    pair = VersionPair(layout, with_gate(min_accuracy=0.5), registry, "words", "2", None)  # type: ignore[arg-type]
    assert [row.verdict for row in gate(pair).reasons] == ["cannot be tested"]


def test_overconfident_answers_refuse(judged: Callable[..., GateReport], layout: Layout) -> None:
    wrong = [(f"{word} wrong{number}", LABELS[0]) for word in WORDS for number in range(3)]
    write_test(layout, [*TEXTS, *wrong])
    # With the strength 3.5 the champion's confidence is its accuracy.
    assert refusing(judged(strength=8.0)) == []
    assert refusing(judged(strength=1.0, settings=with_gate(max_confident_fall=1.0))) == ["calibration error"]
    assert refusing(judged(strength=1.0)) == ["calibration error", "confident answers"]


def test_texts_out_of_scope_that_are_no_longer_noticed_refuse(
    judged: Callable[..., GateReport], layout: Layout
) -> None:
    write_test(layout, TEXTS, tuple(f"weather tomorrow{number}" for number in range(20)))
    report = judged({"weather": "a"})
    assert refusing(report) == ["out-of-scope recall"]
    assert report.reasons[0].value == "100.0% to 0.0%"


def test_latency_and_size_are_limited(
    judged: Callable[..., GateReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scored_version, "latencies", lambda *_: [2.0, 4.0])
    report = judged({f"long{number}": "a" for number in range(5000)})
    assert refusing(report) == ["latency", "size"]
    assert "2.00 to 4.00 ms per text (x 2.00)" in report.reasons[0].value


def test_behaviour_cases_of_the_project_must_pass(judged: Callable[..., GateReport], layout: Layout) -> None:
    cases = "minimum_functionality:\n  - {text: word0 please, label: %s}\n"
    layout.cases.write_text(cases % "a")
    assert verdicts(judged())["behaviour"] == "passed"
    layout.cases.write_text(cases % "b")
    report = judged()
    assert refusing(report) == ["behaviour"]
    assert report.reasons[0].verdict == "failed: minimum_functionality"
    layout.cases.write_text(cases % "z")
    assert "label 'z'" in judged().reasons[0].value


def test_the_checks_of_the_challengers_data_are_a_row(
    judged: Callable[..., GateReport], layout: Layout
) -> None:
    layout.validation.mkdir(parents=True)
    report = {"errors": 0, "warnings": 1, "checks": [{"name": "leak", "passed": False}]}
    (layout.validation / "report.json").write_text(json.dumps(report))
    assert "data checks" not in verdicts(judged())  # the artifacts are of another version
    Registration("run", "words", "2", "models:/words/2").save(layout.registration)
    assert verdicts(judged())["data checks"] == "passed with warnings"
    (layout.validation / "report.json").write_text(json.dumps(report | {"errors": 1}))
    assert refusing(judged(settings=with_gate(margin=0.02))) == ["data checks"]


def test_the_checks_of_data_that_came_later_are_no_row(
    judged: Callable[..., GateReport], layout: Layout
) -> None:
    """A later run validated other data and failed: the version that is registered is as it was."""
    layout.validation.mkdir(parents=True)
    report = layout.validation / "report.json"
    report.write_text(json.dumps({"errors": 0, "warnings": 0, "checks": []}))
    Registration("run", "words", "2", "models:/words/2", "", report_hashes(layout)).save(layout.registration)
    assert verdicts(judged())["data checks"] == "clean"
    report.write_text(
        json.dumps({"errors": 1, "warnings": 0, "checks": [{"name": "empty", "passed": False}]})
    )
    after = judged(settings=with_gate(margin=0.02))
    assert "data checks" not in verdicts(after)
    assert not after.refused


def test_multi_label_models_are_compared(
    layout: Layout, registry: Registry, tmp_path: Path, export_words: Callable[..., Path]
) -> None:
    rows = [
        (f"{WORDS[number % 40]} {WORDS[(number * 7 + 1) % 40]} text{number}", number) for number in range(400)
    ]
    write_test(layout, [(text, sorted({RIGHT[word] for word in text.split()[:2]})) for text, _ in rows])
    registry.folders["1"] = export_words(tmp_path / "one", RIGHT, LABELS, multi_label=True)
    worse = RIGHT | dict.fromkeys(WORDS[1:20:4], "a")
    registry.folders["2"] = export_words(tmp_path / "two", worse, LABELS, multi_label=True)
    settings = with_gate(min_accuracy=0.9)
    report = gate(VersionPair(layout, settings, registry, "words", "2", "1"))  # type: ignore[arg-type]
    assert {"exact match", "micro F1", "macro F1", "classes", "minimum accuracy"} <= set(refusing(report))
    registry.folders["4"] = registry.folders["1"]
    assert not gate(VersionPair(layout, settings, registry, "words", "4", "1")).refused  # type: ignore[arg-type]
    registry.folders["3"] = export_words(tmp_path / "three", RIGHT, LABELS)
    report = gate(VersionPair(layout, SETTINGS, registry, "words", "3", "1"))  # type: ignore[arg-type]
    assert report.not_compared == "one of the two is multi-label and the other is not"
    assert not report.refused


def test_without_a_comparison_nothing_is_refused_and_the_reason_is_given(
    layout: Layout, registry: Registry, tmp_path: Path, export_words: Callable[..., Path]
) -> None:
    registry.folders["2"] = export_words(tmp_path / "two", RIGHT, LABELS, trained=[text for text, _ in TEXTS])
    first = gate(VersionPair(layout, SETTINGS, registry, "words", "2", None))  # type: ignore[arg-type]
    assert (first.outcome, first.not_compared) == ("not compared", "model 'words' has no champion yet")
    gone = gate(VersionPair(layout, SETTINGS, registry, "words", "2", "1"))  # type: ignore[arg-type]
    assert gone.not_compared == "the champion, version 1, cannot be read (its files are gone)"
    registry.folders["1"] = export_words(tmp_path / "one", RIGHT, LABELS)
    trained = gate(VersionPair(layout, SETTINGS, registry, "words", "2", "1"))  # type: ignore[arg-type]
    assert trained.not_compared == "all test texts were trained on"
    registry.folders["3"] = export_words(tmp_path / "three", {"word0": "x", "word1": "y"}, ["x", "y"])
    renamed = gate(VersionPair(layout, SETTINGS, registry, "words", "3", "1"))  # type: ignore[arg-type]
    assert renamed.not_compared == "no test text has a label that both know"
    assert not any(report.refused for report in (first, gone, trained, renamed))
    (layout.split / "test.jsonl").unlink()
    empty = gate(VersionPair(layout, SETTINGS, registry, "words", "3", "1"))  # type: ignore[arg-type]
    assert empty.not_compared == "the project has no test texts here"


def test_a_registry_that_is_down_is_no_reason_to_promote(
    layout: Layout,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    export_words: Callable[..., Path],
) -> None:
    registry.folders["2"] = export_words(tmp_path / "two", RIGHT, LABELS)

    def down(layout: Layout, registry: Registry, name: str, version: str) -> Path:
        if version == "1":
            raise RegistryError("gives no answer")
        return registry.folders[version]

    monkeypatch.setattr(gate_measurement, "_folder", down)
    with pytest.raises(RegistryError):
        gate(VersionPair(layout, SETTINGS, registry, "words", "2", "1"))  # type: ignore[arg-type]


def test_the_report_is_kept_until_something_changes(
    judged: Callable[..., GateReport], layout: Layout, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = judged()
    made: list[str] = []
    fresh = gate_measurement.new_report

    def counted(*arguments: Any) -> GateReport:
        made.append(arguments[0].challenger)
        return fresh(*arguments)

    monkeypatch.setattr(gate_measurement, "new_report", counted)

    def again(settings: Settings = SETTINGS, champion: str | None = "1", tags: Any = None) -> GateReport:
        return gate(VersionPair(layout, settings, registry, "words", "2", champion), tags)  # type: ignore[arg-type]

    assert (again(), made) == (first, [])
    assert again(with_gate(mode="dry_run")) == first and made == []
    again(with_gate(margin=0.02))
    again(with_gate(margin=0.02), champion=None)
    assert len(made) == 2
    again()
    write_test(layout, TEXTS[1:])
    again()
    registry.run = "another"  # the registry was made anew
    again()
    layout.cases.write_text("minimum_functionality:\n  - {text: word0, label: a}\n")
    again()
    assert len(made) == 6


def test_a_report_of_another_machine_is_in_the_versions_tags(
    judged: Callable[..., GateReport], layout: Layout, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    first = judged()
    tags = {REPORT: json.dumps(first.tree())}
    layout.gate.unlink()
    (layout.split / "test.jsonl").unlink()  # a clone without the data
    monkeypatch.setattr(gate_measurement, "new_report", lambda *_: pytest.fail("made again"))
    assert gate(VersionPair(layout, SETTINGS, registry, "words", "2", "1"), tags) == first  # type: ignore[arg-type]
    monkeypatch.undo()
    for damaged in ("no JSON", "[]", '{"rows": 1}', "[" * 100_000):
        assert GateReport.of(gates._parsed(damaged)) is None
