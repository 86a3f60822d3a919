"""What a project has in an SQLite registry that MLflow made, as it is and after what may happen to
it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.artifacts import Champion
from tasks.tracking.registry_check import confirmed, find_champion, is_registered, prepare_registry
from tokensieve.errors import InputError
from tokensieve.files import write_json
from tokensieve.project import Layout
from tokensieve.registry.project_identity import given_identity
from tokensieve.settings import Settings, render

SETTINGS = Settings()
MANIFEST = {"files": {"model.onnx": "hash"}, "labels": ["card", "transfer"], "data_hash": "abc.dir"}


@pytest.fixture
def layout(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project in a folder named tickets, whose version 1 is registered and the challenger."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    layout = Layout(tmp_path / "tickets")
    served = layout.root / "model" / "data" / "onnx"
    served.mkdir(parents=True)
    (served / "model.onnx").write_bytes(b"graph")
    write_json(served / "manifest.json", MANIFEST)
    shutil.copy(database, layout.at("mlflow.db"))
    layout.params.write_text(render(), encoding="utf-8")
    run = client(layout).create_run("0")
    client(layout).create_registered_model("tickets")
    client(layout).create_model_version("tickets", (layout.root / "model").as_uri(), run.info.run_id)
    client(layout).set_registered_model_alias("tickets", "challenger", "1")
    given_identity(layout, SETTINGS)
    layout.registration.mkdir(parents=True)
    registration = {"run_id": run.info.run_id, "name": "tickets", "version": "1", "uri": "models:/tickets/1"}
    write_json(layout.registration / "registration.json", registration)
    return layout


def client(layout: Layout) -> MlflowClient:
    uri = f"sqlite:///{layout.at('mlflow.db')}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def changed(layout: Layout, **values: str) -> None:
    path = layout.registration / "registration.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | values)


FAULTS: dict[str, Callable[[Layout], object]] = {
    "has no version 1 of model 'tickets'": lambda layout: client(layout).delete_model_version("tickets", "1"),
    "has no version 1 of model 'tickets' ": lambda layout: client(layout).delete_registered_model("tickets"),
    "has no version 1 of model 'tickets'  ": lambda layout: client(layout).rename_registered_model(
        "tickets", "mails"
    ),
    "has no version 1 of model 'tickets'   ": lambda layout: layout.at("mlflow.db").unlink(),
    "has no version 1 of model 'tickets'    ": lambda layout: layout.at("mlflow.db").write_bytes(b""),
    "has no version 2 of model 'tickets'": lambda layout: changed(layout, version="2"),
    "is of another run": lambda layout: changed(layout, run_id="0" * 32),
    "the model is named 'tickets' now, not 'mails'": lambda layout: changed(layout, name="mails"),
    "files of version 1 of model 'tickets' are gone": lambda layout: shutil.rmtree(layout.root / "model"),
    "files of version 1 of model 'tickets' are gone ": lambda layout: (
        layout.root / "model/data/onnx/model.onnx"
    ).unlink(),
    "alias 'challenger' of model 'tickets' is not on": lambda layout: client(
        layout
    ).delete_registered_model_alias("tickets", "challenger"),
    "registration.json is missing or damaged": lambda layout: shutil.rmtree(layout.registration),
    "registration.json is missing or damaged ": lambda layout: (
        layout.registration / "registration.json"
    ).write_text("[]"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_registration_that_the_registry_does_not_have_is_noticed(
    layout: Layout, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert is_registered(layout, SETTINGS)
    assert confirmed(layout, SETTINGS).uri == "models:/tickets/1"
    FAULTS[fault](layout)
    existed = layout.at("mlflow.db").exists()
    with caplog.at_level("INFO", "tokensieve"):
        assert not is_registered(layout, SETTINGS)
    assert fault.strip() in caplog.text
    with pytest.raises(InputError, match=r"the registration cannot be confirmed: .*run it again"):
        confirmed(layout, SETTINGS)
    assert layout.at("mlflow.db").exists() == existed


def test_another_store_does_not_have_it(
    layout: Layout, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert not is_registered(layout, SETTINGS)
    assert not layout.at("other.db").exists()
    shutil.copy(database, layout.at("other.db"))
    assert not is_registered(layout, SETTINGS)


def test_the_champion_is_empty_until_there_is_one(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_champion(layout, SETTINGS) is None
    client(layout).set_registered_model_alias("tickets", "champion", "1")
    assert find_champion(layout, SETTINGS) == Champion("tickets", "1", ("card", "transfer"), "abc.dir")
    # The environment goes before the settings, and asking makes no database.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert find_champion(layout, SETTINGS) is None
    assert not layout.at("other.db").exists()


def dangling(layout: Layout) -> None:
    """Delete the champion's version, and leave its alias, which MLflow's own client takes away."""
    client(layout).delete_model_version("tickets", "1")
    with closing(sqlite3.connect(layout.at("mlflow.db"))) as connection, connection:
        columns = "registered_model_aliases (workspace, name, alias, version)"
        connection.execute(f"INSERT INTO {columns} VALUES ('default', 'tickets', 'champion', 1)")


LOST: dict[str, Callable[[Layout], object]] = {
    "has lost files": lambda layout: shutil.rmtree(layout.root / "model"),
    "has lost files ": lambda layout: (layout.root / "model/data/onnx/manifest.json").write_text(
        "{", encoding="utf-8"
    ),
    "has lost files  ": lambda layout: (layout.root / "model/data/onnx/manifest.json").write_text(
        '{"files": {}}', encoding="utf-8"
    ),
    "was deleted": dangling,
}


@pytest.mark.parametrize("fault", LOST)
def test_a_champion_that_cannot_be_read_is_none_and_said(
    layout: Layout, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    client(layout).set_registered_model_alias("tickets", "champion", "1")
    LOST[fault](layout)
    assert find_champion(layout, SETTINGS) is None
    assert (
        f"the champion, version 1 of model 'tickets', {fault.strip()}; this run goes on without a champion"
        in caplog.text
    )


def test_a_deleted_model_has_no_champion(layout: Layout) -> None:
    client(layout).delete_registered_model("tickets")
    assert find_champion(layout, SETTINGS) is None


def test_a_deleted_experiment_is_refused_before_training(layout: Layout) -> None:
    prepare_registry(layout, SETTINGS)
    client(layout).delete_experiment(client(layout).create_experiment("tokensieve"))
    with pytest.raises(InputError, match=r"experiment 'tokensieve' is deleted; restore it"):
        prepare_registry(layout, SETTINGS)


def test_a_registry_that_does_not_answer_is_named_without_its_password(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(
        InputError, match=r"MLflow at http://127.0.0.1:9 gives no answer: .*refused"
    ) as caught:
        find_champion(layout, SETTINGS)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, OSError)  # which flows try again
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    layout.at("mlflow.db").write_bytes(b"no database")
    for ask in (find_champion, is_registered):
        with pytest.raises(InputError, match=r"gives no answer: .*file is not a database"):
            ask(layout, SETTINGS)
