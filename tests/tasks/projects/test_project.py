"""Creating and opening a project folder."""

from __future__ import annotations

from pathlib import Path

from tasks.ingest import ingest
from tasks.projects.project import open_project
from tasks.versioning import dvc_pipeline
from tokensieve.settings import Settings


def test_a_project_is_made_with_the_defaults_and_kept_as_it_is(tmp_path: Path) -> None:
    layout = open_project(tmp_path / "new")
    assert Settings.load(layout.params) == Settings()
    assert dvc_pipeline.stage_names(layout)[0] == "validate"
    layout.params.write_text("finetune:\n  max_epochs: 3\n")

    assert Settings.load(open_project(tmp_path / "new").params).finetune.max_epochs == 3


def test_a_dvc_project_that_was_there_keeps_its_remote_or_gets_one(tmp_path: Path, source: Path) -> None:
    from dvc.repo import Repo

    for name, remote in (("without", None), ("with", tmp_path / "elsewhere")):
        (tmp_path / name).mkdir()
        Repo.init(str(tmp_path / name), no_scm=True).close()
        if remote:
            with (tmp_path / name / ".dvc" / "config").open("a") as file:
                file.write(f"    remote = mine\n['remote \"mine\"']\n    url = {remote}\n")
        ingest(open_project(tmp_path / name), Settings(), str(source))
    assert any((tmp_path / "without" / "store").rglob("*.dir"))
    assert any((tmp_path / "elsewhere").rglob("*.dir"))
    assert not (tmp_path / "with" / "store").exists()
