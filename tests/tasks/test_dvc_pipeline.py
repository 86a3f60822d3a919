"""DVC in this process: data by hash, with git and without, from files, folders and URLs, and stages that are stale or not."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from dvc.exceptions import DvcException

from tasks import dvc_pipeline
from tokensieve.errors import InputError
from tokensieve.files import sha256
from tokensieve.project import Layout
from tokensieve.settings import Settings

CSV = "text,label\none,a\ntwo,a\nthree,b\nfour,b\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return dvc_pipeline.open_project(tmp_path / "project")


def test_a_project_is_made_with_the_defaults_and_kept_as_it_is(tmp_path: Path) -> None:
    layout = dvc_pipeline.open_project(tmp_path / "new")
    assert Settings.load(layout.params) == Settings()
    assert dvc_pipeline.stages(layout)[0] == "validate"
    layout.params.write_text("finetune:\n  epochs: 3\n")

    assert Settings.load(dvc_pipeline.open_project(tmp_path / "new").params).finetune.epochs == 3


@pytest.mark.parametrize("where", ["no git", "git root", "git folder", "ignored folder"])
def test_data_is_versioned_inside_git_and_outside(where: str, tmp_path: Path, source: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    if where != "no git":
        subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    if where == "ignored folder":
        (root / ".gitignore").write_text("inside/\n")
    layout = dvc_pipeline.open_project(root if where == "git root" else root / "inside")

    found = dvc_pipeline.version(layout, Settings(), str(source))

    assert found == dvc_pipeline.data_hash(layout)
    assert (layout.raw / "train.csv").read_text() == CSV
    assert any((layout.root / "store").rglob("*")), "the remote has it"
    if where.startswith("git"):
        listed = subprocess.check_output(
            ["git", "-C", str(layout.root), "ls-files", "-o", "--exclude-standard"], text=True
        )
        assert "data/raw.dvc" in listed
        assert "train.csv" not in listed


def test_the_same_data_has_the_same_hash_and_is_listed_once(layout: Layout, source: Path) -> None:
    first = dvc_pipeline.version(layout, Settings(), str(source))
    assert dvc_pipeline.version(layout, Settings(), str(source)) == first
    source.write_text(CSV + "five,b\n")
    second = dvc_pipeline.version(layout, Settings(), str(source))

    assert second != first
    assert [record["data_hash"] for record in dvc_pipeline.versions(layout)] == [first, second]
    assert dvc_pipeline.versions(layout)[1]["rows"] == {"train": 5}


def test_a_folder_is_taken_in_by_its_parts_and_a_test_file_can_be_given(
    layout: Layout, source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("train.csv", "oos.csv", "notes.txt"):
        (folder / name).write_text(CSV)
    dvc_pipeline.version(layout, Settings(), str(folder), str(source))
    assert sorted(path.name for path in layout.raw.iterdir()) == ["oos.csv", "test.csv", "train.csv"]


def test_bad_data_is_refused_before_the_good_is_replaced(layout: Layout, source: Path) -> None:
    first = dvc_pipeline.version(layout, Settings(), str(source))
    source.write_text("text,label\n")

    with pytest.raises(InputError, match="no row"):
        dvc_pipeline.version(layout, Settings(), str(source))

    assert dvc_pipeline.data_hash(layout) == first
    assert (layout.raw / "train.csv").read_text() == CSV


def test_restoring_what_is_nowhere_is_refused_and_changes_nothing(layout: Layout, source: Path) -> None:
    first = dvc_pipeline.version(layout, Settings(), str(source))
    with pytest.raises(InputError, match=f"begin with 'ffff'; known: {first}"):
        dvc_pipeline.restore(layout, "ffff")
    lost = "f" * 32 + ".dir"
    with pytest.raises(InputError, match="neither in the project's cache nor on its remote"):
        dvc_pipeline.restore(layout, lost)
    assert dvc_pipeline.data_hash(layout) == first
    assert (layout.raw / "train.csv").read_text() == CSV


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "texts.csv").write_text(CSV)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_url_is_imported_and_fetched_again_when_it_has_changed(
    layout: Layout, server: str, tmp_path: Path
) -> None:
    first = dvc_pipeline.version(layout, Settings(), f"{server}/texts.csv")
    assert (layout.raw / "train.csv").read_text() == CSV

    (tmp_path / "served" / "texts.csv").write_text(CSV + "five,b\n")
    second = dvc_pipeline.version(layout, Settings(), f"{server}/texts.csv")

    assert second != first
    assert (layout.raw / "train.csv").read_text() == CSV + "five,b\n"
    assert dvc_pipeline.versions(layout)[0]["source"] == f"{server}/texts.csv"


def test_a_url_that_is_not_there_is_refused_by_name(layout: Layout, server: str) -> None:
    with pytest.raises(InputError, match=r"--data http://127.0.0.1:\d+/none.csv could not be fetched"):
        dvc_pipeline.version(layout, Settings(), f"{server}/none.csv")


def test_a_stage_is_current_after_its_commit_until_something_it_reads_changes(
    layout: Layout, source: Path
) -> None:
    dvc_pipeline.version(layout, Settings(), str(source))
    layout.champion.write_text("{}")
    layout.base.write_text("{}")
    assert not dvc_pipeline.is_current(layout, "validate")

    _pretend(layout, "validate", "first")
    assert dvc_pipeline.is_current(layout, "validate")

    layout.params.write_text(layout.params.read_text().replace("min_examples: 2", "min_examples: 3"))
    assert not dvc_pipeline.is_current(layout, "validate")


def test_what_an_earlier_run_of_the_same_inputs_made_comes_back_from_the_cache(
    layout: Layout, source: Path
) -> None:
    dvc_pipeline.version(layout, Settings(), str(source))
    layout.champion.write_text("{}")
    layout.base.write_text("{}")
    _pretend(layout, "validate", "first")
    before = layout.params.read_text()
    layout.params.write_text(before.replace("min_examples: 2", "min_examples: 3"))
    _pretend(layout, "validate", "second")

    layout.params.write_text(before)

    assert dvc_pipeline.is_current(layout, "validate")
    assert json.loads((layout.validation / "report.json").read_text()) == "first"
    assert [stage for stage in _stale(layout) if stage == "validate"] == [], "dvc.lock knows of it"


def test_another_process_that_holds_the_lock_is_waited_for(
    layout: Layout, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.lock import LockError

    left = [LockError("held"), LockError("held")]

    def action() -> str:
        if left:
            raise left.pop()
        return "done"

    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert dvc_pipeline._waiting(action) == "done"
    monkeypatch.setattr(dvc_pipeline, "LOCK_SECONDS", -1)
    left.append(LockError("held"))
    with pytest.raises(LockError):
        dvc_pipeline._waiting(action)


def test_a_moved_project_still_finds_its_remote(layout: Layout, source: Path, tmp_path: Path) -> None:
    found = dvc_pipeline.version(layout, Settings(), str(source))
    moved = Layout(tmp_path / "moved")
    layout.root.rename(moved.root)
    for path in (moved.root / ".dvc" / "cache", moved.raw):
        _remove(path)

    dvc_pipeline.restore(moved, found)

    assert sha256(moved.raw / "train.csv") == sha256(source)


def _stale(layout: Layout) -> list[str]:
    status = subprocess.check_output(
        [sys.executable, "-m", "dvc", "status", "--json"], cwd=layout.root, text=True
    )
    return list(json.loads(status))


def _pretend(layout: Layout, name: str, result: str) -> None:
    layout.validation.mkdir(parents=True, exist_ok=True)
    (layout.validation / "report.json").write_text(json.dumps(result))
    dvc_pipeline.commit(layout, name)


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(path)


def test_raw_data_edited_by_hand_is_a_version_of_its_own(layout: Layout, source: Path) -> None:
    first = dvc_pipeline.version(layout, Settings(), str(source))
    (layout.raw / "train.csv").write_text(CSV + "five,b\n")
    second = dvc_pipeline.version(layout, Settings(), None)
    assert second != first
    assert second == dvc_pipeline.data_hash(layout)
    assert [record["data_hash"] for record in dvc_pipeline.versions(layout)] == [first, second]


def test_a_failed_restore_in_a_project_without_data_leaves_none(layout: Layout) -> None:
    with pytest.raises(InputError, match="neither"):
        dvc_pipeline.restore(layout, "0" * 32 + ".dir")
    assert not layout.raw_pointer.exists()
    with pytest.raises(InputError, match="no data yet"):
        dvc_pipeline.version(layout, Settings(), None)


def test_a_dvc_project_that_was_there_keeps_its_remote_or_gets_one(tmp_path: Path, source: Path) -> None:
    from dvc.repo import Repo

    for name, remote in (("without", None), ("with", tmp_path / "elsewhere")):
        (tmp_path / name).mkdir()
        Repo.init(str(tmp_path / name), no_scm=True).close()
        if remote:
            with (tmp_path / name / ".dvc" / "config").open("a") as file:
                file.write(f"    remote = mine\n['remote \"mine\"']\n    url = {remote}\n")
        dvc_pipeline.version(dvc_pipeline.open_project(tmp_path / name), Settings(), str(source))
    assert any((tmp_path / "without" / "store").rglob("*.dir"))
    assert any((tmp_path / "elsewhere").rglob("*.dir"))
    assert not (tmp_path / "with" / "store").exists()


def test_what_a_url_may_hide_is_not_kept(layout: Layout, server: str) -> None:
    address = server.replace("http://", "http://user:secret@")
    dvc_pipeline.version(layout, Settings(), f"{address}/texts.csv?signature=hidden")
    kept = layout.versions.read_text()
    assert "secret" not in kept
    assert "hidden" not in kept
    assert f"{server}/texts.csv" in kept


def test_a_stage_names_what_it_needs(layout: Layout) -> None:
    with pytest.raises(
        InputError, match="stage validate needs data/raw, which is not there; give data with --data PATH"
    ):
        dvc_pipeline.inputs(layout, "validate")
    with pytest.raises(
        InputError, match=r"stage mask needs artifacts/split/train.jsonl, .* run the stages before it"
    ):
        dvc_pipeline.inputs(layout, "mask")


def test_no_file_holds_what_a_url_may_hide(layout: Layout, server: str) -> None:
    address = server.replace("http://", "http://user:secret@")
    for _ in range(2):
        dvc_pipeline.version(
            layout, Settings(), f"{address}/texts.csv?token=hidden", f"{address}/texts.csv?token=hidden"
        )
    found = [
        path
        for path in layout.root.rglob("*")
        if path.is_file() and b"hidden" in path.read_bytes() + str(path).encode()
    ]
    assert found == []
    assert not [path for path in layout.root.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


def test_a_pointer_of_an_earlier_version_that_holds_a_password_is_removed(
    layout: Layout, server: str
) -> None:
    old = layout.at("data", "source", "data", "texts.csv.dvc")
    old.parent.mkdir(parents=True)
    old.write_text("deps:\n- path: https://user:secret@host/texts.csv\nouts:\n- path: texts.csv\n")
    dvc_pipeline.version(layout, Settings(), f"{server}/texts.csv")
    assert not old.exists()


def test_a_password_for_another_scheme_is_refused(layout: Layout) -> None:
    with pytest.raises(
        InputError, match=r"--data ftp://host/texts.csv: its password would be written to a file"
    ):
        dvc_pipeline.version(layout, Settings(), "ftp://user:secret@host/texts.csv")


def test_a_scheme_whose_package_is_missing_names_it(layout: Layout) -> None:
    with pytest.raises(
        InputError, match=r"--data gs://bucket/texts.csv: reading gs:// needs .*pip install 'dvc\[gs\]'"
    ):
        dvc_pipeline.version(layout, Settings(), "gs://bucket/texts.csv")


def test_a_remote_that_is_down_does_not_stop_a_run(
    layout: Layout, source: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "expired"),
        ("AWS_SECRET_ACCESS_KEY", "expired"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ):
        monkeypatch.setenv(name, value)
    config = layout.at(".dvc", "config")
    config.write_text(
        config.read_text().replace(
            "url = ../store", "url = s3://bucket/store\n    endpointurl = http://127.0.0.1:9"
        )
    )
    found = dvc_pipeline.version(layout, Settings(), str(source))
    assert f"data version {found} was not pushed to the DVC remote 'local'" in caplog.text
    assert dvc_pipeline.version(layout, Settings(), None) == found


def test_no_password_of_a_remote_is_in_a_message(layout: Layout) -> None:
    with pytest.raises(InputError, match=r"DVC: cannot reach ssh://host/x$"), dvc_pipeline._repo(layout):
        raise DvcException("cannot reach\nssh://ann:s3cret@host/x")


def test_a_clone_without_the_data_is_told_what_to_do(layout: Layout, source: Path, tmp_path: Path) -> None:
    import shutil

    found = dvc_pipeline.version(layout, Settings(), str(source))
    clone = Layout(tmp_path / "clone")
    clone.at("data").mkdir(parents=True)
    for path in (layout.params, layout.pipeline, layout.raw_pointer, layout.versions):
        shutil.copy(path, clone.at(path.relative_to(layout.root).as_posix()))
    pointer = layout.raw_pointer.read_text()
    with pytest.raises(
        InputError, match=rf"data version {found} is neither .*dvc remote add --default NAME URL, dvc push"
    ):
        dvc_pipeline.version(dvc_pipeline.open_project(clone.root), Settings(), None)
    assert clone.raw_pointer.read_text() == pointer


@pytest.mark.parametrize("name", ["a@b", "new\nline", "{x} ü", "c#d%20 e", "${y}"])
def test_any_name_of_a_folder_will_do(name: str, tmp_path: Path, source: Path) -> None:
    layout = dvc_pipeline.open_project(tmp_path / name / "project")
    found = dvc_pipeline.version(layout, Settings(), str(source))
    layout.champion.write_text("{}")
    layout.base.write_text("{}")
    _pretend(layout, "validate", "first")
    assert dvc_pipeline.is_current(layout, "validate")
    _remove(layout.raw)
    assert dvc_pipeline.restore(layout, found) == found
    assert (layout.raw / "train.csv").read_text() == CSV


def test_an_output_that_was_changed_in_place_is_made_anew(
    layout: Layout, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dvc_pipeline.version(layout, Settings(), str(source))
    layout.champion.write_text("{}")
    layout.base.write_text("{}")
    _pretend(layout, "validate", "first")
    (layout.validation / "report.json").unlink()
    (layout.validation / "report.json").write_text("changed by hand")
    assert not dvc_pipeline.is_current(layout, "validate")
    assert "artifacts/validation was changed by hand; stage validate makes it anew" in caplog.text


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
    dvc_pipeline.version(layout, Settings(), str(source))
    layout.pipeline.write_text(layout.pipeline.read_text() + OWN)
    own = [name for name in dvc_pipeline.stages(layout) if not dvc_pipeline.is_ours(layout, name)]
    assert sorted(own) == ["drift", "each@a", "each@b"]
    assert all(dvc_pipeline.reproduce(layout, name) for name in own)
    assert not any(dvc_pipeline.reproduce(layout, name) for name in own)
    assert layout.at("drift.txt").read_text().split()[0] == str(len(CSV))
    assert not {"drift", "each@a"} & set(_stale(layout))
    layout.pipeline.write_text(layout.pipeline.read_text().replace("wc -c data", "exit 3; wc -c data"))
    with pytest.raises(InputError, match=r"stage drift of dvc.yaml failed: .*exit"):
        dvc_pipeline.reproduce(layout, "drift")
