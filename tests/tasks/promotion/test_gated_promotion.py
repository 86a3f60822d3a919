"""A promotion through the gate, on an SQLite registry whose versions are small models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks.artifacts import Registration
from tasks.promotion import gate_measurement, move_champion, refusals
from tasks.promotion.gate import OUTCOME, REPORT
from tasks.promotion.gate_challenger import gate_challenger
from tasks.promotion.promote import promote, rollback
from tasks.promotion.shown_record import project_record
from tokensieve.cli.main import main
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError, Refused
from tokensieve.project import Layout
from tokensieve.settings import Settings, render

SETTINGS = Settings()
LABELS = ["a", "b"]
RIGHT = {f"word{number}": LABELS[number % 2] for number in range(20)}


@pytest.fixture
def layout(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project in a folder named words, with an empty registry and 200 test texts."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    layout = Layout(tmp_path / "words")
    layout.split.mkdir(parents=True)
    shutil.copy(database, layout.at("mlflow.db"))
    layout.params.write_text(render(), encoding="utf-8")
    texts = [(f"{word} text{number}", label) for word, label in RIGHT.items() for number in range(10)]
    Examples.of([text for text, _ in texts], [label for _, label in texts]).save(layout.split / "test.jsonl")
    return layout


@pytest.fixture
def client(layout: Layout) -> MlflowClient:
    uri = f"sqlite:///{layout.at('mlflow.db')}"
    found = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found.create_registered_model("words")
    return found


@pytest.fixture
def register(
    layout: Layout, client: MlflowClient, export_words: Callable[..., Path]
) -> Callable[..., Registration]:
    """Register a version that gets `wrong` of the 20 words wrong, as the challenger."""

    def version(wrong: int = 0) -> Registration:
        run = client.create_run("0")
        folder = layout.root / f"model-{run.info.run_id}"
        meanings = {
            word: label if number >= wrong else LABELS[LABELS.index(label) - 1]
            for number, (word, label) in enumerate(RIGHT.items())
        }
        export_words(folder / "data" / "onnx", meanings, LABELS)
        made = client.create_model_version("words", folder.as_uri(), run.info.run_id)
        number = str(made.version)
        client.set_registered_model_alias("words", "challenger", number)
        found = Registration(run.info.run_id, "words", number, f"models:/words/{number}")
        found.save(layout.registration)
        return found

    return version


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias("words", "champion").version)


def test_a_worse_challenger_is_refused_and_nothing_moves(
    layout: Layout, client: MlflowClient, register: Callable[..., Registration]
) -> None:
    register()
    promote(layout, SETTINGS)
    register(wrong=6)
    with pytest.raises(Refused, match="version 2 of model 'words' is refused against champion 1") as caught:
        promote(layout, SETTINGS)
    assert "accuracy" in caught.value.detail
    assert champion(client) == "1"
    assert [entry.to_version for entry in project_record(layout, SETTINGS).moves] == ["1"]


def test_a_refusal_is_recorded_once_with_the_table(
    layout: Layout, client: MlflowClient, register: Callable[..., Registration]
) -> None:
    def refused(**options: Any) -> Refused:
        with pytest.raises(Refused) as caught:
            promote(layout, SETTINGS, **options)
        return caught.value

    register()
    promote(layout, SETTINGS)
    register(wrong=6)
    assert [refused().is_known for _ in range(3)] == [False, True, True]
    record = project_record(layout, SETTINGS)
    (_, entry) = (known.entry for known in record.entries)
    assert (entry.action, entry.from_version, entry.to_version, entry.reason) == ("refuse", "1", "2", None)
    assert entry.gate is not None and entry.gate["outcome"] == "refused"
    assert record.unfinished is None and not record.fault
    # After a move it is news again, also if another rule refuses.
    promote(layout, SETTINGS, reason="for now", force=True)
    rollback(layout, SETTINGS)
    assert [refused().is_known for _ in range(2)] == [False, True]
    # A program does not promote again what was rolled back, whatever its reason.
    assert refused(version="2", reason="retrained", by_person=False).is_known
    actions = [known.entry.action for known in project_record(layout, SETTINGS).entries]
    assert actions == ["promote", "refuse", "promote", "rollback", "refuse"]
    assert "was rolled back" in (project_record(layout, SETTINGS).entries[-1].entry.reason or "")
    assert champion(client) == "1"


def test_a_refusal_holds_although_the_record_cannot_be_written(
    layout: Layout,
    client: MlflowClient,
    register: Callable[..., Registration],
    caplog: pytest.LogCaptureFixture,
) -> None:
    register()
    promote(layout, SETTINGS)
    register(wrong=6)
    entry = project_record(layout, SETTINGS).entries[-1]
    client.delete_run(entry.run)
    with pytest.raises(Refused) as caught:
        promote(layout, SETTINGS)
    assert not caught.value.is_known
    assert any("the refusal is not recorded" in line for line in caplog.messages)
    assert champion(client) == "1"


def test_a_refusal_cut_off_before_its_outcome_is_completed(
    layout: Layout,
    client: MlflowClient,
    register: Callable[..., Registration],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    promote(layout, SETTINGS)
    register(wrong=6)
    with monkeypatch.context() as patch:
        patch.setattr(refusals, "close", lambda *_: None)
        with pytest.raises(Refused):
            promote(layout, SETTINGS)
    assert project_record(layout, SETTINGS).unfinished is not None
    monkeypatch.setattr(move_champion, "PATIENCE", 0.0)
    register()
    promote(layout, SETTINGS)
    outcomes = [(known.entry.action, known.outcome) for known in project_record(layout, SETTINGS).entries]
    assert outcomes == [("promote", "done"), ("refuse", "done"), ("promote", "done")]
    assert champion(client) == "3"


def test_force_goes_past_a_refusal_with_a_reason_and_the_record_has_the_report(
    layout: Layout, client: MlflowClient, register: Callable[..., Registration]
) -> None:
    register()
    promote(layout, SETTINGS)
    register(wrong=6)
    with pytest.raises(InputError, match="--force needs a reason"):
        promote(layout, SETTINGS, force=True)
    promote(layout, SETTINGS, reason="the old labels were wrong", force=True)
    first, second = project_record(layout, SETTINGS).moves
    assert (champion(client), second.forced, second.reason) == ("2", True, "the old labels were wrong")
    assert first.gate is not None and second.gate is not None
    assert first.gate["not_compared"] == "model 'words' has no champion yet"
    assert {row["rule"] for row in second.gate["rows"] if row["refuses"]} >= {"accuracy", "macro F1"}
    # A challenger that passes is not forced.
    register()
    promote(layout, SETTINGS, reason="again", force=True)
    assert project_record(layout, SETTINGS).moves[-1].forced is False


@pytest.mark.parametrize("mode", ["dry_run", "off"])
def test_the_modes_that_refuse_nothing(
    mode: str,
    layout: Layout,
    client: MlflowClient,
    register: Callable[..., Registration],
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = replace(SETTINGS, gate=replace(SETTINGS.gate, mode=mode))
    register()
    promote(layout, settings)
    register(wrong=6)
    promote(layout, settings)
    assert champion(client) == "2"
    kept = project_record(layout, settings).moves[-1].gate
    assert (kept is None) == (mode == "off")
    assert any("not enforced (dry run)" in line for line in caplog.messages) == (mode == "dry_run")


def test_a_version_that_was_rolled_back_is_refused(
    layout: Layout, client: MlflowClient, register: Callable[..., Registration]
) -> None:
    for _ in range(2):
        register()
        promote(layout, SETTINGS)
    rollback(layout, SETTINGS)
    with pytest.raises(Refused, match="version 2 was rolled back"):
        promote(layout, SETTINGS)


def test_the_report_of_a_retrain_is_kept_with_the_version(
    layout: Layout,
    client: MlflowClient,
    register: Callable[..., Registration],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    assert gate_challenger(layout, SETTINGS)[1]
    assert not gate_challenger(layout, SETTINGS)[1]  # still without a champion
    promote(layout, SETTINGS)
    assert gate_challenger(layout, SETTINGS) == (None, False)  # it is the champion
    second = register()
    report, is_new = gate_challenger(layout, SETTINGS)
    assert report is not None and is_new and report.outcome == "passed"
    assert gate_challenger(layout, SETTINGS) == (report, False)
    tags = client.get_model_version("words", second.version).tags
    assert tags[OUTCOME] == "passed" and '"accuracy"' in tags[REPORT]
    logged = {file.path for file in client.list_artifacts(second.run_id, "gate")}
    assert logged == {"gate/report.json", "gate/report.txt"}
    layout.gate.unlink()  # another clone of the project
    monkeypatch.setattr(gate_measurement, "new_report", lambda *_: pytest.fail("measured again"))
    promote(layout, SETTINGS)
    assert champion(client) == "2"
    settings = replace(SETTINGS, gate=replace(SETTINGS.gate, mode="off"))
    assert gate_challenger(layout, settings) == (None, False)


def test_the_command_prints_the_table_and_ends_with_status_1(
    layout: Layout,
    client: MlflowClient,
    register: Callable[..., Registration],
    capfd: pytest.CaptureFixture[str],
) -> None:
    command = ["promote", "--project", str(layout.root)]
    register()
    assert main(command) == 0
    register(wrong=6)
    assert main(command) == 1
    errors = capfd.readouterr().err
    assert "version 2 of model 'words' is refused" in errors
    assert "SIGNIFICANTLY WORSE" in errors
    assert main([*command, "--force"]) == 2
    assert main([*command, "--force", "--reason", "on purpose"]) == 0
    assert champion(client) == "2"
