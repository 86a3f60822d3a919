"""One stage: what changes under it is not recorded as if it had run, and only what may pass is
tried again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from prefect.states import Failed

from tasks import stage
from tasks.artifacts import Champion
from tasks.projects.project import open_project, template
from tasks.projects.upgrade import complete_stages
from tasks.tracking import registry_check
from tasks.versioning.download import FetchError
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings


def take_in(layout: Layout, settings: Settings, data: str | None, force: bool = False) -> None:
    stage.run_ingest(layout, settings, data)
    stage.check_registry(layout, settings, force)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    source = tmp_path / "source.csv"
    source.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20)))
    layout = open_project(tmp_path / "project")
    take_in(layout, Settings(), str(source))
    return layout


def test_a_stage_runs_once(layout: Layout) -> None:
    assert stage.run_if_stale(layout, "validate") is not None
    assert stage.run_if_stale(layout, "validate") is None
    assert stage.run_if_stale(layout, "validate", force=True) is not None


def test_a_stage_runs_again_after_its_setting_is_taken_out(layout: Layout) -> None:
    """The setting is the default again, and the stage ran with another value."""
    full, default = layout.params.read_text(), "  clean: none"
    assert default in full
    without = "".join(line for line in full.splitlines(keepends=True) if not line.startswith(default))
    for params, runs in (
        (full.replace(default, "  clean: html"), True),
        (without, True),
        (without, False),  # the default is what it ran with
    ):
        layout.params.write_text(params)
        complete_stages(layout, template())
        assert (stage.run_if_stale(layout, "validate") is not None) is runs
        assert (default in layout.params.read_text()) is (params is without)


def test_a_stage_opens_dvc_once_and_leaves_the_working_directory(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.repo import Repo

    opened, moved = [], []
    opening = Repo.__init__
    monkeypatch.setattr(Repo, "__init__", lambda *a, **k: (opened.append(1), opening(*a, **k))[1])
    monkeypatch.setattr("os.chdir", moved.append)
    for run in (
        lambda: stage.run_if_stale(layout, "validate"),
        lambda: stage.run_ingest(layout, Settings(), None),
    ):
        opened.clear()
        run()
        assert (len(opened), moved) == (1, [])


def test_a_setting_changed_while_the_stage_runs_is_not_recorded_as_run(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changes_a_setting(layout: Layout, settings: Settings) -> None:
        layout.validation.mkdir(parents=True, exist_ok=True)
        layout.params.write_text(
            layout.params.read_text().replace("min_examples_per_class: 2", "min_examples_per_class: 3")
        )

    monkeypatch.setattr(stage, "function_of", lambda _: changes_a_setting)
    with pytest.raises(InputError, match=r"params.yaml changed while stage validate ran; run it again"):
        stage.run_if_stale(layout, "validate")
    monkeypatch.undo()
    assert stage.run_if_stale(layout, "validate") is not None


def test_a_promotion_alone_makes_no_stage_stale(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    champion = Champion("m", "1", ("a", "b", "c"), "1")
    assert stage.run_if_stale(layout, "validate") is not None
    monkeypatch.setattr(registry_check, "find_champion", lambda *_: champion)
    take_in(layout, Settings(), None)
    assert stage.run_if_stale(layout, "validate") is None
    # New data are compared with it, and so are all if every stage is to run.
    layout.champion.write_text("{}", encoding="utf-8")
    take_in(layout, Settings(), None, force=True)
    assert Champion.load(layout.champion) == champion
    assert stage.run_if_stale(layout, "validate") is not None
    monkeypatch.setattr(registry_check, "find_champion", lambda *_: replace(champion, version="2"))
    (layout.raw / "train.csv").write_text(
        "text,label\n" + "".join(f"word {i},{'ab'[i % 2]}\n" for i in range(20)), encoding="utf-8"
    )
    take_in(layout, Settings(), None)
    assert Champion.load(layout.champion) == replace(champion, version="2")


class MlflowException(Exception):  # noqa: N818 - told by this name
    pass


class RestException(MlflowException):
    pass


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionError("refused"), True),
        (TimeoutError("late"), True),
        (OSError("disk"), True),
        (RestException("server"), True),
        (FetchError("url"), True),
        (FileNotFoundError("gone"), False),
        (PermissionError("no"), False),
        (InputError("bad"), False),
        (KeyError("bug"), False),
    ],
)
def test_only_temporary_failures_are_retried(error: Exception, again: bool) -> None:
    state = Failed(message="failed", data=error)
    assert stage.is_transient(stage.stage_task, None, state) is again  # type: ignore[arg-type]


def test_other_weights_in_the_folder_of_the_base_model_are_noticed(layout: Layout) -> None:
    settings = Settings.of({"base": {"model": "./encoder"}})
    folder = layout.at("encoder")
    folder.mkdir()
    found = []
    for weights in (b"one", b"one", b"two"):
        (folder / "model.safetensors").write_bytes(weights)
        take_in(layout, settings, None)
        found.append(json.loads(layout.base.read_text())["sha256"])
    assert found[0] == found[1] != found[2]
    take_in(layout, Settings(), None)
    assert json.loads(layout.base.read_text()) == {"model": Settings().base.model, "sha256": None}


def test_what_a_merge_left_of_the_champion_is_written_anew(layout: Layout) -> None:
    layout.champion.write_text("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> two\n")
    take_in(layout, Settings(), None)
    assert json.loads(layout.champion.read_text()) == {}
