from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.registry.store import ModelVersion, no_answer, present_location, tracking_uri
from tokensieve.settings import Settings


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    layout = Layout(tmp_path)

    def address(uri: str) -> str:
        return tracking_uri(layout, Settings.of({"register": {"uri": uri}}))

    assert address("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert address(f"sqlite:///{tmp_path}/x/m.db") == f"sqlite:///{tmp_path}/x/m.db"
    assert address("https://host:5000") == "https://host:5000"
    assert address("postgresql+psycopg2://u@host/db") == "postgresql+psycopg2://u@host/db"
    with pytest.raises(InputError, match=r"is './mlruns'; allowed: sqlite:///FILE"):
        address("./mlruns")
    for secret in ("me:secret@host/db", "me:se/cret@host/db", "me:se@cret@host/db"):
        with pytest.raises(InputError, match=r"is 'postgres://host/db'; allowed"):
            address(f"postgres://{secret}")
    with pytest.raises(InputError, match=r"is 'postgres://host/db\?user=me&password=\*\*\*&port=1'; allowed"):
        address("postgres://host/db?user=me&password=secret&port=1")


def test_the_environment_goes_before_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host")
    assert tracking_uri(Layout(tmp_path), Settings()) == "http://host"


def test_an_error_shows_no_password() -> None:
    error = no_answer(
        "postgresql://me:secret@host/db", "cannot connect to postgresql://me:secret@host/db\nmore"
    )
    assert str(error).startswith(
        "MLflow at postgresql://host/db gives no answer: 'cannot connect to postgresql://host/db'; start it"
    )


def test_versions_of_one_number_are_told_apart() -> None:
    marks = {
        version.mark
        for version in (
            ModelVersion("0123456789", "a", 1),
            ModelVersion("", "a", 1),
            ModelVersion("", "a", 2),
        )
    }
    assert len(marks) == 3
    assert all(len(mark) == 8 for mark in marks)


def test_files_are_looked_for_beside_a_moved_database(tmp_path: Path) -> None:
    inside = Path("mlartifacts") / "run" / "artifacts" / "model"
    here = f"sqlite:///{tmp_path / 'now' / 'mlflow.db'}"
    before = (tmp_path / "before" / inside).as_uri()
    (tmp_path / "before" / inside).mkdir(parents=True)
    assert present_location(here, before) == before
    (tmp_path / "now" / inside).mkdir(parents=True)
    assert present_location(here, before) == (tmp_path / "now" / inside).as_uri()
    for uri, location in (
        ("http://host", before),
        (here, "mlflow-artifacts:/mlartifacts/run/artifacts/model"),
        (here, (tmp_path / "other").as_uri()),
        (here, (tmp_path / "before" / "mlartifacts").as_uri()),
    ):
        assert present_location(uri, location) == location
