"""Promotions and rollbacks on an SQLite store that MLflow made."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient, MlflowException

from tasks.promotion import history as promotion_history
from tasks.promotion import move_champion
from tasks.promotion import promote as promotions
from tasks.promotion import record as promotion_record
from tasks.promotion.checks import FINGERPRINT, PROJECT
from tasks.promotion.history import Entry, champions, earlier_moves, rolled_back
from tasks.promotion.promote import promote, rollback
from tasks.promotion.record import Record, read_record
from tasks.tracking import mlflow_client
from tasks.tracking.mlflow_editor import MlflowEditor
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.registry.mlflow_process import MlflowProcess
from tokensieve.registry.project_identity import given_identity
from tokensieve.registry.store import tracking_uri
from tokensieve.settings import Settings

SETTINGS = Settings()
# A move as versions before the record wrote it.
MOVE = {"at": "2026-01-01T00:00:00+00:00", "action": "promote", "version": "1", "replaced": None}


def model_folder(layout: Layout, number: str) -> Path:
    return layout.root / f"model-{number}"


def aliases(client: MlflowClient) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model("tickets").aliases.items()}


def recorded(client: MlflowClient) -> Record:
    return read_record(MlflowEditor(client.tracking_uri), "tickets")


def moves(client: MlflowClient) -> list[tuple[str, str]]:
    record = recorded(client)
    assert record.fault == ""
    return [(move.action, move.to_version) for move in record.moves]


def test_the_only_version_has_none_to_roll_back_to(layout: Layout, register: Callable[..., None]) -> None:
    register(1)
    promote(layout, SETTINGS, "1")
    with pytest.raises(InputError, match="no earlier champion; there is no other version; train one with"):
        rollback(layout, SETTINGS)


def test_a_server_finds_the_registrys_answer_after_each_move(
    layout: Layout, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no child process, which would import MLflow beside its answers."""
    register(2)
    promote(layout, SETTINGS, "1")
    promote(layout, SETTINGS, "2")
    uri = tracking_uri(layout, SETTINGS)
    monkeypatch.setattr(MlflowProcess, "describe", None)
    assert MlflowProcess(uri, layout.served).aliases("tickets") == {
        "challenger": "2",
        "champion": "2",
        "previous": "1",
    }
    rollback(layout, SETTINGS)
    assert (MlflowProcess(uri, layout.served).aliases("tickets") or {})["champion"] == "1"


def test_a_promotion_does_not_need_that_answer(
    layout: Layout, register: Callable[..., None], client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise MlflowException("database is locked")

    register(1)
    monkeypatch.setattr(mlflow_client, "describe", fails)
    assert promote(layout, SETTINGS, "1")["version"] == "1"
    assert aliases(client)["champion"] == "1"


def test_promotions_can_be_rolled_back_one_by_one(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(3)
    first = promote(layout, SETTINGS, "1")
    assert (first["name"], first["version"], first["replaced"]) == ("tickets", "1", None)
    with pytest.raises(
        InputError,
        match=r"no earlier champion; choose another version: .* --version N --reason TEXT; versions: 2, 3$",
    ):
        rollback(layout, SETTINGS)
    assert promote(layout, SETTINGS, "2")["replaced"] == "1"
    assert promote(layout, SETTINGS)["replaced"] == "2"
    assert promote(layout, SETTINGS)["replaced"] == "3"  # once more changes nothing
    moved = rollback(layout, SETTINGS)
    assert (moved["version"], moved["replaced"]) == ("2", "3")
    assert aliases(client) == {"challenger": "3", "champion": "2", "previous": "1"}
    assert rollback(layout, SETTINGS)["version"] == "1"
    with pytest.raises(InputError, match="no earlier champion"):
        rollback(layout, SETTINGS)
    assert moves(client) == [
        ("promote", "1"),
        ("promote", "2"),
        ("promote", "3"),
        ("rollback", "2"),
        ("rollback", "1"),
    ]


def test_a_version_that_was_rolled_back_needs_its_number_and_a_reason(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(2)
    promote(layout, SETTINGS, "1")
    promote(layout, SETTINGS)
    rollback(layout, SETTINGS)
    for version, reason in ((None, None), (None, "it was not the model"), ("2", None)):
        with pytest.raises(InputError, match=r"version 2 was rolled back at .*: --version 2 --reason"):
            promote(layout, SETTINGS, version, reason)
    assert aliases(client)["champion"] == "1"
    assert promote(layout, SETTINGS, "2", "it was not the model")["version"] == "2"
    assert recorded(client).moves[-1].reason == "it was not the model"
    # It is as good as any other now.
    promote(layout, SETTINGS, "1")
    assert promote(layout, SETTINGS)["version"] == "2"


@pytest.mark.parametrize("kind", ["run", "fingerprint"])
@pytest.mark.parametrize("first", ["rollback", "deletion"])
def test_the_same_model_under_another_number_needs_a_reason_as_well(
    layout: Layout, client: MlflowClient, register: Callable[..., None], kind: str, first: str
) -> None:
    register(1, {FINGERPRINT: "a"})
    register(1, {FINGERPRINT: "b"} if kind == "fingerprint" else None)
    run = client.get_model_version("tickets", "2").run_id
    promote(layout, SETTINGS, "1")
    promote(layout, SETTINGS)
    if first == "rollback":
        rollback(layout, SETTINGS)
    client.delete_model_version("tickets", "2")
    if first == "deletion":
        assert rollback(layout, SETTINGS)["version"] == "1"
    if kind == "run":
        client.create_model_version("tickets", model_folder(layout, "2").as_uri(), run)
    else:
        client.create_model_version("tickets", model_folder(layout, "2").as_uri(), None, {FINGERPRINT: "b"})
    client.set_registered_model_alias("tickets", "challenger", "3")
    for version in (None, "3"):
        with pytest.raises(
            InputError,
            match=(
                r"version 3 is the same model as version 2, which was rolled back at .*: --version 3 --reason"
            ),
        ):
            promote(layout, SETTINGS, version)
    assert aliases(client)["champion"] == "1"
    assert promote(layout, SETTINGS, "3", "it was the data")["version"] == "3"
    promote(layout, SETTINGS, "1")
    assert promote(layout, SETTINGS)["version"] == "3"  # it is as good as any other now


def test_a_model_of_another_run_is_promoted_without_a_reason(
    layout: Layout, register: Callable[..., None]
) -> None:
    register(1, {FINGERPRINT: "a"})
    register(1, {FINGERPRINT: "b"})
    promote(layout, SETTINGS, "1")
    promote(layout, SETTINGS)
    rollback(layout, SETTINGS)
    register(1, {FINGERPRINT: "c"})
    assert promote(layout, SETTINGS)["version"] == "3"


def test_moves_keep_their_order_if_clocks_disagree(
    layout: Layout, client: MlflowClient, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(minutes=10)

    register(3)
    promote(layout, SETTINGS, "1")
    with monkeypatch.context() as patch:
        patch.setattr(promotions, "datetime", Ahead)
        promote(layout, SETTINGS, "3")
    assert rollback(layout, SETTINGS)["version"] == "1"
    assert moves(client) == [("promote", "1"), ("promote", "3"), ("rollback", "1")]
    with pytest.raises(InputError, match="version 3 was rolled back"):
        promote(layout, SETTINGS)
    with pytest.raises(InputError, match="no earlier champion"):
        rollback(layout, SETTINGS)
    promote(layout, SETTINGS, "2")
    assert moves(client)[-1] == ("promote", "2")
    # The time that a person reads is this machine's.
    at = [datetime.fromisoformat(move.at) for move in recorded(client).moves]
    assert at[1] > at[3] > datetime.now(UTC) - timedelta(minutes=5)


def test_a_rollback_passes_over_versions_that_are_gone(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(5)
    for version in "12345":
        promote(layout, SETTINGS, version)
    client.delete_model_version("tickets", "4")
    shutil.rmtree(model_folder(layout, "3"))
    moved = rollback(layout, SETTINGS)
    assert (moved["version"], moved["skipped"]) == ("2", ["4", "3"])
    assert rollback(layout, SETTINGS)["version"] == "1"


def test_a_rollback_from_a_champion_that_was_deleted(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(2)
    promote(layout, SETTINGS, "1")
    promote(layout, SETTINGS, "2")
    client.delete_model_version("tickets", "2")
    assert "champion" not in aliases(client)
    moved = rollback(layout, SETTINGS)
    assert (moved["version"], moved["replaced"], moved["skipped"]) == ("1", None, ["2"])


def test_a_rollback_names_the_champions_that_are_gone(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(2)
    promote(layout, SETTINGS, "1")
    promote(layout, SETTINGS, "2")
    client.delete_model_version("tickets", "1")
    with pytest.raises(InputError, match=r"model 'tickets' has no earlier champion \(1: deleted\)"):
        rollback(layout, SETTINGS)


CHANGES = ("create_experiment", "rename_experiment", "create_run", "write_once", "set_alias", "end_run")


class CutOffError(Exception):
    pass


def cut_off(patch: pytest.MonkeyPatch, at: int, after_it: bool) -> None:
    """Let the registry fail at its change number `at`, counted from 0, and at all later ones;
    before or after it.
    """
    counted = iter(range(1000))

    def failing(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any) -> Any:
            number = next(counted)
            if number > at or (number == at and not after_it):
                raise CutOffError
            result = change(*arguments)
            if number == at:
                raise CutOffError
            return result

        return changed

    for name in CHANGES:
        patch.setattr(MlflowEditor, name, failing(getattr(MlflowEditor, name)))


@pytest.mark.parametrize("after_it", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(6))
def test_a_move_cut_off_at_any_step_is_completed_or_abandoned_by_the_next_one(
    layout: Layout,
    client: MlflowClient,
    register: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    after_it: bool,
) -> None:
    register(3)
    for version in "123":
        promote(layout, SETTINGS, version)
    monkeypatch.setattr(move_champion, "PATIENCE", 0.0)
    with monkeypatch.context() as patch:
        cut_off(patch, step, after_it)
        with pytest.raises(CutOffError):
            rollback(layout, SETTINGS)
    # Changes: the entry's run, its place in the chain, champion, previous, done, end of the run.
    is_moved = (step, after_it) >= (2, True)
    assert aliases(client)["champion"] == ("2" if is_moved else "3")
    moved = rollback(layout, SETTINGS)
    assert (moved["version"], moved["replaced"]) == (("1", "2") if is_moved else ("2", "3"))
    record = recorded(client)
    is_linked = (step, after_it) >= (1, True)
    assert [known.outcome for known in record.entries] == [
        "done",
        "done",
        "done",
        *(["done" if is_moved else "abandoned"] if is_linked else []),
        "done",
    ]
    assert record.fault == ""
    assert aliases(client).get("previous") == (None if is_moved else "1")
    if not is_moved:
        assert rollback(layout, SETTINGS)["version"] == "1"


@pytest.mark.parametrize("after_it", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(7))
def test_a_first_promotion_cut_off_leaves_no_half_made_record(
    layout: Layout,
    client: MlflowClient,
    register: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    after_it: bool,
) -> None:
    register(2)
    monkeypatch.setattr(move_champion, "PATIENCE", 0.0)
    with monkeypatch.context() as patch:
        cut_off(patch, step, after_it)
        with pytest.raises(CutOffError):
            promote(layout, SETTINGS, "1")
    assert promote(layout, SETTINGS, "2")["version"] == "2"
    assert [move.to_version for move in recorded(client).moves][-1] == "2"
    assert recorded(client).fault == ""


def test_a_changed_entry_and_a_lost_one_break_the_chain(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(3)
    promote(layout, SETTINGS, "1", "the first")
    promote(layout, SETTINGS, "2", "\u4f60\u597d \ud83d\ude00 " + "x" * 1000)
    promote(layout, SETTINGS, "3")
    whole = recorded(client)
    assert whole.fault == ""
    assert [known.entry.number for known in whole.entries] == [1, 2, 3]
    assert [known.entry.previous for known in whole.entries[1:]] == [
        known.hash for known in whole.entries[:2]
    ]
    second = whole.entries[1]
    assert second.entry.reason and len(second.entry.reason) == 1000
    text = client.get_run(second.run).data.tags["tokensieve.entry.00"]
    client.set_tag(second.run, "tokensieve.entry.00", text.replace('"to":"2"', '"to":"1"'))
    assert recorded(client).fault == f"entry 2 was changed after it was written (run {second.run})"
    # The last entry, too: the one before it has its hash.
    client.set_tag(second.run, "tokensieve.entry.00", text)
    client.set_tag(whole.entries[2].run, "tokensieve.entry.00", "{}")
    assert "entry 3 was changed" in recorded(client).fault
    # A deleted run is in MLflow's trash: it is still read, but nothing is appended to it.
    client.set_tag(
        whole.entries[2].run, "tokensieve.entry.00", promotion_record.document(whole.entries[2].entry)
    )
    client.delete_run(whole.entries[2].run)
    assert recorded(client) == replace(whole, end=recorded(client).end)
    with pytest.raises(InputError, match=r"has a deleted run; restore it: mlflow runs restore --run-id"):
        rollback(layout, SETTINGS)
    assert aliases(client)["champion"] == "3"
    client.restore_run(whole.entries[2].run)
    client.delete_experiment(whole.experiment)
    with pytest.raises(
        InputError, match=r"is deleted; restore it: mlflow experiments restore --experiment-id"
    ):
        promote(layout, SETTINGS, "1")


def test_a_record_that_lost_a_run_can_be_begun_anew(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(2)
    promote(layout, SETTINGS, "1")
    (entry,) = recorded(client).entries
    with closing(sqlite3.connect(layout.at("mlflow.db"))) as database, database:  # as mlflow gc does
        for table in ("tags", "params", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", [entry.run])
    assert recorded(client).fault == f"entry 1 is missing: run {entry.run} is gone"
    with pytest.raises(InputError, match=r"cannot be continued: entry 1 is missing.*; rename the experiment"):
        promote(layout, SETTINGS, "2")
    client.rename_experiment(recorded(client).experiment, "an old record")
    assert promote(layout, SETTINGS, "2")["replaced"] == "1"
    assert rollback(layout, SETTINGS)["version"] == "1"


def test_a_process_that_was_paused_does_not_undo_what_came_after(
    layout: Layout, client: MlflowClient, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(4)
    promote(layout, SETTINGS, "1")
    monkeypatch.setattr(move_champion, "PATIENCE", 0.0)
    set_alias, paused = MlflowEditor.set_alias, []

    def late(*arguments: Any) -> None:
        if not paused:
            paused.append(True)
            promote(layout, SETTINGS, "3")  # another process finds the entry unfinished and goes on
        set_alias(*arguments)

    monkeypatch.setattr(MlflowEditor, "set_alias", late)
    with pytest.raises(
        InputError, match="the promote of version 2 took so long that another process marked it"
    ):
        promote(layout, SETTINGS, "2")
    assert aliases(client)["champion"] == "3"
    record = recorded(client)
    assert [(known.entry.to_version, known.outcome) for known in record.entries] == [
        ("1", "done"),
        ("2", "abandoned"),
        ("3", "done"),
    ]


def test_a_paused_process_puts_back_the_champion_of_before(
    layout: Layout, client: MlflowClient, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(2)
    promote(layout, SETTINGS, "1")
    set_alias, paused = MlflowEditor.set_alias, []

    def late(*arguments: Any) -> None:
        if not paused:
            paused.append(True)
            store = MlflowEditor(client.tracking_uri)
            record = read_record(store, "tickets")
            assert record.unfinished
            move_champion.recover(store, record, record.unfinished)
        set_alias(*arguments)

    monkeypatch.setattr(MlflowEditor, "set_alias", late)
    with pytest.raises(InputError, match="repeat the command"):
        promote(layout, SETTINGS, "2")
    assert aliases(client)["champion"] == "1"


def test_both_versions_figures_are_returned(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(1, {"data_hash": "a"}, test_accuracy=0.75, test_macro_f1=0.5, train_loss=1.0)
    register(1, {"data_hash": "b"}, test_accuracy=0.875)
    register(1, {"data_hash": "b"}, test_exact_match=0.5)
    first = promote(layout, SETTINGS, "1")
    assert first["figures"] == {"test_accuracy": 0.75, "test_macro_f1": 0.5}
    assert (first["replaced_figures"], first["same_data"]) == ({}, None)
    second = promote(layout, SETTINGS, "2")
    assert (second["figures"], second["replaced_figures"]["test_accuracy"]) == (
        {"test_accuracy": 0.875},
        0.75,
    )
    assert second["same_data"] is False
    assert promote(layout, SETTINGS, "3")["same_data"] is True


def test_a_version_of_another_project_is_refused_unless_told(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    own = given_identity(layout, SETTINGS)
    register(1, {PROJECT: own.project})
    register(1, {PROJECT: "mails-0000abcd"})
    register(1)  # of before projects were recorded
    with pytest.raises(
        InputError,
        match=(
            "version 2 of model 'tickets' was registered by project 'mails-0000abcd', not by this one; "
            "--version 1 is"
        ),
    ):
        promote(layout, SETTINGS, "2")
    assert promote(layout, SETTINGS, "1")["version"] == "1"
    assert promote(layout, SETTINGS, "3")["version"] == "3"
    assert promote(layout, SETTINGS, "2", other_project=True)["version"] == "2"


def test_what_is_not_there_is_named_with_what_is(
    layout: Layout, client: MlflowClient, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match=r"absent\.db does not exist; run tokensieve run first"),
    ):
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///absent.db")
        promote(layout, SETTINGS)
    assert not layout.at("absent.db").exists()
    layout.at("empty.db").touch()
    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match=r"empty\.db is empty; run tokensieve run first"),
    ):
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///empty.db")
        promote(layout, SETTINGS)
    with pytest.raises(InputError, match="no model 'tickets' in the registry; models: none"):
        promote(layout, SETTINGS)
    register(1)
    with pytest.raises(InputError, match="model 'tickets' has no version '7'; versions: 1"):
        promote(layout, SETTINGS, "7")
    (model_folder(layout, "1") / "data" / "onnx" / "model.onnx").unlink()
    with pytest.raises(
        InputError,
        match=r"version 1 of model 'tickets' has no manifest.json, or a file that it lists is missing",
    ):
        promote(layout, SETTINGS)
    client.delete_registered_model_alias("tickets", "challenger")
    with pytest.raises(InputError, match="has no alias 'challenger'; aliases: none"):
        promote(layout, SETTINGS)


@pytest.mark.parametrize(
    "number", ["03", "\u0663", "3\n", " 3", "+3", "0", "-1", "", "seven", "../1", "12345678901"]
)
def test_a_number_is_written_as_the_registry_writes_it(
    layout: Layout, client: MlflowClient, register: Callable[..., None], number: str
) -> None:
    register(3)
    with pytest.raises(
        InputError, match=r"version is .*; allowed: digits 0 to 9, .* the first not 0; .*: 1, 2, 3"
    ) as caught:
        promote(layout, SETTINGS, number, "why")
    assert "\n" not in str(caught.value)
    assert moves(client) == []


def test_of_promotions_at_once_those_that_succeed_are_recorded_and_the_others_are_told(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(4)
    program = (
        "import sys; from pathlib import Path; from tasks.promotion.promote import promote\n"
        "from tokensieve.errors import InputError; from tokensieve.project import Layout\n"
        "from tokensieve.settings import Settings; layout = Layout(Path(sys.argv[1])); sys.stdin.read()\n"
        "for _ in range(3):\n"
        "    try:\n"
        "        moved = promote(layout, Settings(), sys.argv[2])\n"
        "        print(moved['version'] != moved['replaced'])\n"
        "    except InputError as error: print(error)\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(layout.root), version],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for version in "1234"
    ]
    for process in started:
        assert process.stdin
        process.stdin.close()  # they begin together
    lines = []
    for process in started:
        with process:
            assert process.stdout
            lines += process.stdout.read().splitlines()
        assert process.returncode == 0
    assert len(lines) == 12
    record = recorded(client)
    assert record.fault == ""
    assert [entry.outcome for entry in record.entries] == ["done"] * lines.count("True")
    told = [line for line in lines if line not in ("True", "False")]
    assert all("was not made the champion: at the same time, " in line for line in told), told
    assert aliases(client)["champion"] == record.moves[-1].to_version


def test_the_history_of_before_is_read(
    layout: Layout, client: MlflowClient, register: Callable[..., None]
) -> None:
    register(3)
    old = [
        {"at": "2026-01-01T00:00:00+00:00", "action": "promote", "version": version, "replaced": None}
        for version in "12"
    ]
    client.set_registered_model_tag("tickets", promotion_history.EARLIER, json.dumps(old))
    client.set_registered_model_alias("tickets", "champion", "2")
    promote(layout, SETTINGS, "3")
    assert moves(client) == [("promote", "1"), ("promote", "2"), ("promote", "3")]
    assert [rollback(layout, SETTINGS)["version"] for _ in range(2)] == ["2", "1"]


def after(*found: tuple[str, str, str | None]) -> list[Entry]:
    return [
        Entry(0, "", "tickets", f"2026-01-01T00:00:{at:02}+00:00", action, before, version)
        for at, (action, version, before) in enumerate(found)
    ]


def test_a_rollback_takes_the_last_champion_away() -> None:
    found = (("promote", "1", None), ("promote", "2", "1"), ("promote", "1", "2"))
    assert champions(after(*found)) == ["1", "2", "1"]
    assert champions(after(*found, ("rollback", "2", "1"))) == ["1", "2"]
    assert champions([]) == []


def test_a_champion_set_without_a_record_counts_from_when_it_is_replaced() -> None:
    assert champions(after(("promote", "5", "4"))) == ["4", "5"]
    assert champions(after(("promote", "1", None), ("promote", "5", "4"))) == ["1", "4", "5"]
    # A rollback whose promotions are forgotten: all that is known is the champion it made.
    assert champions(after(("rollback", "3", "4"), ("promote", "5", "3"))) == ["3", "5"]


def test_a_version_is_marked_as_rolled_back_until_it_is_promoted_again() -> None:
    found = after(("promote", "1", None), ("promote", "2", "1"), ("rollback", "1", "2"))
    assert rolled_back(found) == {"2": found[-1]}
    assert rolled_back([*found, *after(("promote", "2", "1"))]) == {}
    # To roll back to it makes it good as well.
    assert rolled_back(
        after(("promote", "1", None), ("promote", "2", "1"), ("rollback", "1", "2"), ("rollback", "2", "1"))
    ).keys() == {"1"}


def test_a_broken_record_is_passed_over() -> None:
    whole = json.dumps(MOVE)
    tags = {
        promotion_history.EARLIER: "not JSON",
        f"{promotion_history.MOVE}2": whole,
        f"{promotion_history.MOVE}1": '{"action": "promote"}',
        "other": "x",
    }
    assert [move.to_version for move in earlier_moves("tickets", tags)] == ["1"]


@pytest.mark.parametrize(
    "text",
    ["not JSON", "5", "null", '{"at": "now"}', '"text"', '[{"action": "promote"}]', "[1]", "[" * 100_000],
)
def test_an_unreadable_history_of_before_is_logged(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tokensieve"):
        assert earlier_moves("tickets", {promotion_history.EARLIER: text}) == []
    assert caplog.messages == [
        "tag tokensieve.promotions of the registered model is not a history of promotions; "
        "unreadable entries are skipped"
    ]


@pytest.mark.parametrize(
    "change", [{"version": ["1"]}, {"replaced": 1}, {"at": None}, {"same": "run"}, {"replaced_same": [[]]}]
)
def test_a_move_of_other_types_is_passed_over(change: dict[str, Any]) -> None:
    tags = {
        f"{promotion_history.MOVE}1": json.dumps(MOVE | change),
        f"{promotion_history.MOVE}2": json.dumps(MOVE),
    }
    assert earlier_moves("tickets", tags) == after(("promote", "1", None))
