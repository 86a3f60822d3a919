"""Stages of dvc.yaml: which are stale, and what is recorded of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.ingest import ingest
from tasks.projects.project import open_project
from tasks.versioning import dvc_pipeline
from tasks.versioning.data_versions import restore_version
from tasks.versioning.dvc_repo import opened
from tests.tasks.conftest import CSV
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings


def is_current(layout: Layout, name: str) -> bool:
    with opened(layout) as repo:
        return dvc_pipeline.is_current(layout, repo, name)


def inputs(layout: Layout, name: str) -> dict[str, Any]:
    with opened(layout) as repo:
        return dvc_pipeline.inputs(layout, repo, name)


def reproduce(layout: Layout, name: str) -> bool:
    with opened(layout) as repo:
        return dvc_pipeline.reproduce(layout, repo, name)


def test_a_stage_is_current_after_its_commit_until_something_it_reads_changes(
    layout: Layout, source: Path
) -> None:
    ingest(layout, Settings(), str(source))
    layout.champion.write_text("{}")
    layout.base.write_text("{}")
    layout.suite.write_text("{}")
    assert not is_current(layout, "validate")

    _pretend(layout, "validate", "first")
    assert is_current(layout, "validate")

    layout.params.write_text(
        layout.params.read_text().replace("min_examples_per_class: 2", "min_examples: 3")
    )
    assert not is_current(layout, "validate")


def test_a_stale_stage_makes_those_stale_that_read_what_it_writes(layout: Layout, source: Path) -> None:
    ingest(layout, Settings(), str(source))
    for path in (layout.champion, layout.base, layout.suite):
        path.write_text("{}")
    _pretend(layout, "validate", "first")
    names = dvc_pipeline.stage_names(layout)
    stale = dvc_pipeline.stale_stages(layout, names)
    assert stale == set(names) - {"validate"}
    layout.split.mkdir(parents=True)
    (layout.split / "train.jsonl").write_text("{}")
    _pretend(layout, "split", "first")
    assert "split" not in dvc_pipeline.stale_stages(layout, names)
    layout.params.write_text(layout.params.read_text().replace("seed: 0", "seed: 1", 1))
    # The outputs of split are there and unchanged, but they will be written again.
    assert dvc_pipeline.stale_stages(layout, names) >= {"split", "vocabulary", "register"}


def test_stages_of_another_dvc_yaml_are_not_those_of_the_project(layout: Layout, source: Path) -> None:
    ingest(layout, Settings(), str(source))
    for path in (layout.champion, layout.base, layout.suite):
        path.write_text("{}")
    _pretend(layout, "validate", "first")
    other = layout.root / "another"
    other.mkdir()
    (other / "dvc.yaml").write_text("stages:\n  validate:\n    cmd: echo a\n    outs: [never]\n")
    names = dvc_pipeline.stage_names(layout)
    assert "validate" not in dvc_pipeline.stale_stages(layout, names)


def test_what_an_earlier_run_of_the_same_inputs_made_comes_back_from_the_cache(
    layout: Layout, source: Path
) -> None:
    ingest(layout, Settings(), str(source))
    layout.champion.write_text("{}")
    layout.base.write_text("{}")
    layout.suite.write_text("{}")
    _pretend(layout, "validate", "first")
    before = layout.params.read_text()
    layout.params.write_text(before.replace("min_examples_per_class: 2", "min_examples: 3"))
    _pretend(layout, "validate", "second")

    layout.params.write_text(before)

    assert is_current(layout, "validate")
    assert json.loads((layout.validation / "report.json").read_text()) == "first"
    assert [stage for stage in _stale(layout) if stage == "validate"] == [], "dvc.lock knows of it"


def _stale(layout: Layout) -> list[str]:
    status = subprocess.check_output(
        [sys.executable, "-m", "dvc", "status", "--json"], cwd=layout.root, text=True
    )
    return list(json.loads(status))


def _pretend(layout: Layout, name: str, result: str) -> None:
    layout.validation.mkdir(parents=True, exist_ok=True)
    (layout.validation / "report.json").write_text(json.dumps(result))
    with opened(layout) as repo:
        dvc_pipeline.record(layout, repo, name)


def test_the_error_of_a_stage_names_the_missing_input(layout: Layout) -> None:
    with pytest.raises(
        InputError, match="stage validate needs data/raw, which is missing; add data with --data PATH"
    ):
        inputs(layout, "validate")
    with pytest.raises(
        InputError, match=r"stage mask needs artifacts/split/train.jsonl, .* run the stages before it"
    ):
        inputs(layout, "mask")


@pytest.mark.parametrize("name", ["a@b", "new\nline", "{x} ü", "c#d%20 e", "${y}"])
def test_the_folder_may_have_any_name(name: str, tmp_path: Path, source: Path) -> None:
    layout = open_project(tmp_path / name / "project")
    found = ingest(layout, Settings(), str(source))
    layout.champion.write_text("{}")
    layout.base.write_text("{}")
    layout.suite.write_text("{}")
    _pretend(layout, "validate", "first")
    assert is_current(layout, "validate")
    shutil.rmtree(layout.raw)
    assert restore_version(layout, found) == found
    assert (layout.raw / "train.csv").read_text() == CSV


def test_an_output_that_was_changed_in_place_is_made_anew(
    layout: Layout, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ingest(layout, Settings(), str(source))
    layout.champion.write_text("{}")
    layout.base.write_text("{}")
    layout.suite.write_text("{}")
    _pretend(layout, "validate", "first")
    (layout.validation / "report.json").unlink()
    (layout.validation / "report.json").write_text("changed by hand")
    assert not is_current(layout, "validate")
    assert "artifacts/validation was changed by hand; stage validate writes it again" in caplog.text


OWN = """
  drift:
    cmd: wc -c data/raw/train.csv > drift.txt
    deps: [data/raw]
    outs: [drift.txt]
  each:
    foreach: [a, b]
    do:
      cmd: echo ${item} > each_${item}.txt
      outs: ["each_${item}.txt"]
"""


def test_a_stage_of_ones_own_runs_as_dvc_runs_it(layout: Layout, source: Path) -> None:
    ingest(layout, Settings(), str(source))
    layout.pipeline.write_text(layout.pipeline.read_text() + OWN)
    own = [name for name in dvc_pipeline.stage_names(layout) if not dvc_pipeline.is_ours(layout, name)]
    assert sorted(own) == ["drift", "each@a", "each@b"]
    assert all(reproduce(layout, name) for name in own)
    assert not any(reproduce(layout, name) for name in own)
    assert layout.at("drift.txt").read_text().split()[0] == str(len(CSV))
    assert not {"drift", "each@a"} & set(_stale(layout))
    layout.pipeline.write_text(layout.pipeline.read_text().replace("wc -c data", "exit 3; wc -c data"))
    with pytest.raises(InputError, match=r"stage drift of dvc.yaml failed: .*exit"):
        reproduce(layout, "drift")
