"""New data as a version: with git and without, from files, folders and URLs."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.ingest import ingest
from tasks.projects.project import open_project
from tasks.versioning.data_versions import data_hash, data_versions
from tests.tasks.conftest import CSV
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings


@pytest.mark.parametrize("where", ["no git", "git root", "git folder", "ignored folder"])
def test_data_is_versioned_inside_git_and_outside(where: str, tmp_path: Path, source: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    if where != "no git":
        subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    if where == "ignored folder":
        (root / ".gitignore").write_text("inside/\n")
    layout = open_project(root if where == "git root" else root / "inside")

    found = ingest(layout, Settings(), str(source))

    assert found == data_hash(layout)
    assert (layout.raw / "train.csv").read_text() == CSV
    assert any((layout.root / "store").rglob("*")), "the remote has it"
    if where.startswith("git"):
        listed = subprocess.check_output(
            ["git", "-C", str(layout.root), "ls-files", "-o", "--exclude-standard"], text=True
        )
        assert "data/raw.dvc" in listed
        assert "train.csv" not in listed


def test_a_folder_is_ingested_by_part_with_an_optional_test_file(
    layout: Layout, source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("train.csv", "oos.csv", "notes.txt"):
        (folder / name).write_text(CSV)
    ingest(layout, Settings(), str(folder), str(source))
    assert sorted(path.name for path in layout.raw.iterdir()) == ["oos.csv", "test.csv", "train.csv"]


def test_bad_data_is_refused_before_the_good_is_replaced(layout: Layout, source: Path) -> None:
    first = ingest(layout, Settings(), str(source))
    source.write_text("text,label\n")

    with pytest.raises(InputError, match="no row"):
        ingest(layout, Settings(), str(source))

    assert data_hash(layout) == first
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
    first = ingest(layout, Settings(), f"{server}/texts.csv")
    assert (layout.raw / "train.csv").read_text() == CSV

    (tmp_path / "served" / "texts.csv").write_text(CSV + "five,b\n")
    second = ingest(layout, Settings(), f"{server}/texts.csv")

    assert second != first
    assert (layout.raw / "train.csv").read_text() == CSV + "five,b\n"
    assert data_versions(layout)[0].source == f"{server}/texts.csv"


def test_a_url_that_is_not_there_is_refused_by_name(layout: Layout, server: str) -> None:
    with pytest.raises(InputError, match=r"--data http://127.0.0.1:\d+/none.csv could not be fetched"):
        ingest(layout, Settings(), f"{server}/none.csv")


def test_raw_data_edited_by_hand_is_a_version_of_its_own(layout: Layout, source: Path) -> None:
    first = ingest(layout, Settings(), str(source))
    (layout.raw / "train.csv").write_text(CSV + "five,b\n")
    second = ingest(layout, Settings(), None)
    assert second != first
    assert second == data_hash(layout)
    assert [version.data_hash for version in data_versions(layout)] == [first, second]


def test_what_a_url_may_hide_is_not_kept(layout: Layout, server: str) -> None:
    address = server.replace("http://", "http://user:secret@")
    ingest(layout, Settings(), f"{address}/texts.csv?signature=hidden")
    kept = layout.versions.read_text()
    assert "secret" not in kept
    assert "hidden" not in kept
    assert f"{server}/texts.csv" in kept


@pytest.mark.parametrize("git", [True, False])
def test_what_dvc_imports_is_taken_and_updated_inside_git_and_outside(
    git: bool, tmp_path: Path, source: Path
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    if git:
        subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    layout = open_project(root)
    with layout.at(".dvc", "config").open("a", encoding="utf-8") as config:
        config.write(f"['remote \"inputs\"']\n    url = {source.parent}\n")
    address = f"remote://inputs/{source.name}"
    found = ingest(layout, Settings(), address)
    assert (layout.raw / "train.csv").read_text() == CSV
    source.write_text(f"{CSV}a new text,card\n")
    assert ingest(layout, Settings(), address) != found
    assert (layout.raw / "train.csv").read_text() == source.read_text()


def test_credentials_in_urls_are_not_stored(layout: Layout, server: str) -> None:
    address = server.replace("http://", "http://user:secret@")
    for _ in range(2):
        ingest(layout, Settings(), f"{address}/texts.csv?token=hidden", f"{address}/texts.csv?token=hidden")
    found = [
        path
        for path in layout.root.rglob("*")
        if path.is_file() and b"hidden" in path.read_bytes() + str(path).encode()
    ]
    assert found == []
    assert not [path for path in layout.root.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


def test_an_earlier_pointer_with_a_password_is_removed(layout: Layout, server: str) -> None:
    old = layout.at("data", "source", "data", "texts.csv.dvc")
    old.parent.mkdir(parents=True)
    old.write_text("deps:\n- path: https://user:secret@host/texts.csv\nouts:\n- path: texts.csv\n")
    ingest(layout, Settings(), f"{server}/texts.csv")
    assert not old.exists()


def test_a_password_for_another_scheme_is_refused(layout: Layout) -> None:
    with pytest.raises(
        InputError, match=r"--data ftp://host/texts.csv: its password would be written to a file"
    ):
        ingest(layout, Settings(), "ftp://user:secret@host/texts.csv")


def test_a_scheme_whose_package_is_missing_names_it(layout: Layout) -> None:
    with pytest.raises(
        InputError, match=r"--data gs://bucket/texts.csv: reading gs:// needs .*pip install 'dvc\[gs\]'"
    ):
        ingest(layout, Settings(), "gs://bucket/texts.csv")


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
    found = ingest(layout, Settings(), str(source))
    assert f"data version {found} was not pushed to the DVC remote 'local'" in caplog.text
    assert ingest(layout, Settings(), None) == found


def test_a_clone_without_the_data_gets_the_remedy(layout: Layout, source: Path, tmp_path: Path) -> None:
    found = ingest(layout, Settings(), str(source))
    clone = Layout(tmp_path / "clone")
    clone.at("data").mkdir(parents=True)
    for path in (layout.params, layout.pipeline, layout.raw_pointer, layout.versions):
        shutil.copy(path, clone.at(path.relative_to(layout.root).as_posix()))
    pointer = layout.raw_pointer.read_text()
    with pytest.raises(
        InputError, match=rf"data version {found} is neither .*dvc remote add --default NAME URL, dvc push"
    ):
        ingest(open_project(clone.root), Settings(), None)
    assert clone.raw_pointer.read_text() == pointer
