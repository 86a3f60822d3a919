from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.errors import InputError
from tokensieve.settings import Settings, assigned, changed, check_base_model, render
from tokensieve.settings.base_model import base_folders, stored_base_model


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a project, a model in it, and one beside it."""
    for folder in ("models/tiny", "project/encoder"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("models/tiny", "{here}/models/tiny"),
        ("./models/../models/tiny", "{here}/models/tiny"),
        # In the project it stays relative, so that the project can be moved.
        ("project/encoder", "encoder"),
        ("encoder", "encoder"),
        ("../models/tiny", "../models/tiny"),
        ("/models/tiny", "/models/tiny"),
        ("nosuch", "nosuch"),
        ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_a_typed_folder_is_stored_as_one_that_every_directory_finds(
    here: Path, typed: str, stored: str
) -> None:
    assert stored_base_model(typed, here / "project") == stored.format(here=here)
    assert stored_base_model(typed, Path("project")) == stored.format(here=here)


def test_a_folder_without_a_model_does_not_take_the_place_of_an_id(here: Path) -> None:
    (here / "org" / "name").mkdir(parents=True)
    assert stored_base_model("org/name", here / "project") == "org/name"


def test_a_path_that_starts_at_the_project_is_kept_in_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here / "project")
    for typed in ("encoder", "../models/tiny", str(here / "models" / "tiny")):
        assert stored_base_model(typed, here / "project") == typed


def test_the_project_comes_before_the_current_directory(here: Path) -> None:
    assert base_folders("a/../b", here / "project") == [here / "project" / "b", here / "b"]
    assert base_folders("b", Path()) == [here / "b"]
    assert base_folders("/b", here / "project") == [Path("/b")]


def test_an_assignment_alone_changes_the_stored_folder(here: Path) -> None:
    params = here / "project" / "params.yaml"
    params.write_text(render(Settings.of({"base": {"model": "models/tiny"}})))
    # Otherwise the stages of projects of earlier versions would be stale.
    assert assigned(params, ["mask.budget=0.2"]).base.model == "models/tiny"
    whole = str(here / "models" / "tiny")
    assert changed(params, ["base.model=models/tiny"]) == {"base.model": ("models/tiny", whole)}
    assert Settings.load(params).base.model == whole


@pytest.mark.parametrize(
    "model",
    ["encoder", "models/tiny", "./models/tiny", "{here}/models/tiny", "nosuch", "BAAI/bge-small-en-v1.5"],
)
def test_a_folder_or_the_form_of_an_id_passes(here: Path, model: str) -> None:
    check_base_model(model.format(here=here), here / "project")


@pytest.mark.parametrize(
    "model", ["./nosuch", "{here}/nosuch", "../nosuch", "a/b/c", "~/models/tiny", "two words"]
)
def test_what_is_neither_a_folder_nor_an_id_is_refused(here: Path, model: str) -> None:
    with pytest.raises(InputError, match=r"base\.model '.*' was not found; tried folder /.*owner/model"):
        check_base_model(model.format(here=here), here / "project")
