from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tokensieve.errors import InputError
from tokensieve.files import write_json
from tokensieve.project import Layout
from tokensieve.registry.project_identity import Identity, given_identity, identity, model_name
from tokensieve.settings import Settings


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("tickets", "tickets"),
        ("My Tickets (2026)", "My-Tickets-2026"),
        ("Größe", "Größe"),
        ("_a:b/c", "a-b-c"),
        ("...", "classifier"),
    ],
)
def test_a_folders_name_becomes_a_models(folder: str, name: str) -> None:
    assert model_name(folder) == name
    assert Settings.of({"register": {"name": name}}).register.name == name  # which is allowed


def test_a_project_keeps_its_id_and_name_when_its_folder_moves(tmp_path: Path) -> None:
    before = Layout(tmp_path / "tickets")
    assert identity(before, Settings()).project == ""
    given = given_identity(before, Settings())
    assert given.model == "tickets"
    assert given.project.startswith("tickets-")
    assert given_identity(before, Settings()) == given
    before.root.rename(tmp_path / "moved")
    assert identity(Layout(tmp_path / "moved"), Settings()) == given
    assert given_identity(Layout(tmp_path / "other" / "tickets"), Settings()).project != given.project


def test_a_name_in_the_settings_goes_first(tmp_path: Path) -> None:
    settings = Settings.of({"register": {"name": "classifier"}})
    assert given_identity(Layout(tmp_path / "tickets"), settings).model == "classifier"
    assert identity(Layout(tmp_path / "tickets"), Settings()).model == "tickets"


def test_a_project_of_before_keeps_the_name_it_has_registered_under(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "tickets")
    layout.registration.mkdir(parents=True)
    write_json(layout.registration / "registration.json", {"name": "classifier", "version": "3"})
    assert given_identity(layout, Settings()).model == "classifier"
    (layout.registration / "registration.json").unlink()
    assert identity(layout, Settings()).model == "classifier"


def test_a_copy_in_the_same_registry_is_a_project_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings.of({"register": {"uri": "https://mlflow.example.org"}})
    original, copy = Layout(tmp_path / "tickets"), Layout(tmp_path / "trial")
    given = given_identity(original, settings)
    shutil.copytree(original.root, copy.root)

    assert identity(copy, settings) == Identity("", "trial")
    found = given_identity(copy, settings)
    assert (found.model, found.project != given.project) == ("trial", True)
    assert f"this project is a copy of {original.root}" in caplog.text
    assert identity(copy, settings) == given_identity(copy, settings) == found
    assert identity(original, settings) == given


def test_a_copy_with_the_name_of_its_originals_model_is_refused(tmp_path: Path) -> None:
    server = {"uri": "https://mlflow.example.org"}
    settings = Settings.of({"register": server | {"name": "claims"}})
    original, copy = Layout(tmp_path / "tickets"), Layout(tmp_path / "trial")
    given_identity(original, settings)
    original.registration.mkdir(parents=True)
    write_json(original.registration / "registration.json", {"name": "claims", "version": "3"})
    shutil.copytree(original.root, copy.root)

    for _ in range(2):
        with pytest.raises(
            InputError, match=r"is a copy of .*tickets.*'claims'; use --set register.name=trial"
        ):
            given_identity(copy, settings)
    assert given_identity(original, settings).model == "claims"
    other = Settings.of({"register": server | {"name": "trial"}})
    assert given_identity(copy, other).model == "trial"
    assert given_identity(copy, other) == identity(copy, other)


def test_a_copy_with_its_own_registry_keeps_its_models(tmp_path: Path) -> None:
    given = given_identity(Layout(tmp_path / "tickets"), Settings())
    shutil.copytree(tmp_path / "tickets", tmp_path / "trial")
    assert given_identity(Layout(tmp_path / "trial"), Settings()) == given
