from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tokensieve.errors import InputError
from tokensieve.server.model_watcher import FolderSource, ModelWatcher


@dataclass
class Shelf:
    """A source with exported folders by version, one of which is current."""

    folders: dict[str, Path]
    wanted: str = "1"
    fetched: list[str] = field(default_factory=list)
    interval: float = 0.01
    stale: str | None = None
    name: str = ""
    made: str = "first"

    def version(self) -> str:
        if not self.wanted:
            raise InputError("the alias is gone")
        return self.wanted

    def identity(self, version: str) -> str:
        return f"{version}-{self.made}"

    def fetch(self, version: str) -> Path:
        self.fetched.append(version)
        return self.folders[version]


@pytest.fixture
def shelf(served: Any, tmp_path: Path) -> Shelf:
    folders = {}
    for version in ("1", "2"):
        folders[version] = served.write(tmp_path / version)
        replace(served.manifest, data_hash=f"data-{version}").save(folders[version])
    return Shelf(folders)


def answers(watcher: ModelWatcher) -> str:
    watcher.current.model.predict(["I lost my card"])
    return watcher.current.model.manifest.data_hash


def test_newer_version_is_loaded_once(shelf: Shelf) -> None:
    watcher = ModelWatcher(shelf, 1)
    assert (watcher.current.version, answers(watcher)) == ("1", "data-1")
    assert watcher.check()
    shelf.wanted = "2"
    assert watcher.check()
    assert watcher.check()
    assert (watcher.current.version, answers(watcher), watcher.last_error) == ("2", "data-2", None)
    assert shelf.fetched == ["1", "2"]
    assert watcher.reloads == {"taken": 1, "refused": 0}


def test_other_model_with_the_same_version_is_loaded(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    watcher = ModelWatcher(shelf, 1)
    shelf.folders["1"], shelf.made = shelf.folders["2"], "anew"
    with caplog.at_level(logging.INFO, "tokensieve"):
        assert watcher.check()
    assert (watcher.current.version, answers(watcher), watcher.last_error) == ("1", "data-2", None)
    assert "model 1 is served instead of an earlier model of that version" in caplog.text
    assert watcher.check()
    assert shelf.fetched == ["1", "1"]


def test_third_model_waits_until_no_request_uses_the_first(shelf: Shelf, served: Any, tmp_path: Path) -> None:
    shelf.folders["3"] = served.write(tmp_path / "3")
    watcher = ModelWatcher(shelf, 1)
    held = watcher.current.model
    shelf.wanted = "2"
    assert watcher.check()
    shelf.wanted = "3"
    assert watcher.check()
    assert watcher.current.version == "2"
    del held
    assert watcher.check()
    assert watcher.current.version == "3"


def corrupt(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1])


def half(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def unlisted(folder: Path) -> None:
    (folder / "manifest.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "words"),
    [(corrupt, "SHA-256"), (half, "missing"), (unlisted, "not JSON"), (shutil.rmtree, "no manifest")],
)
def test_broken_version_keeps_the_old_model_and_is_logged_once(
    shelf: Shelf, caplog: pytest.LogCaptureFixture, damage: Any, words: str, served: Any
) -> None:
    watcher = ModelWatcher(shelf, 1)
    damage(shelf.folders["2"])
    shelf.wanted = "2"
    with caplog.at_level(logging.WARNING, "tokensieve"):
        assert not watcher.check()
        assert not watcher.check()
    assert (watcher.current.version, answers(watcher)) == ("1", "data-1")
    assert words in (watcher.last_error or "")
    assert [record.getMessage().startswith("model 1 is still served") for record in caplog.records] == [True]
    # Once it is complete, it is loaded at the next check.
    served.write(shelf.folders["2"])
    assert watcher.check()
    assert (watcher.current.version, watcher.last_error) == ("2", None)


def test_lost_source_keeps_the_model(shelf: Shelf) -> None:
    watcher = ModelWatcher(shelf, 1)
    shelf.wanted = ""
    assert not watcher.check()
    assert (watcher.current.version, watcher.last_error) == ("1", "the alias is gone")


def test_model_with_infinite_logits_is_refused(served: Any, tmp_path: Path) -> None:
    broken = replace(served, bias=served.bias * float("nan"))
    with pytest.raises(InputError, match="fails on a test text: its logits are not finite"):
        ModelWatcher(FolderSource(broken.write(tmp_path)), 1)


def with_positions(served: Any, folder: Path, positions: int) -> Path:
    """Write the model with a table of `positions` position embeddings, as BERT has."""
    served.write(folder)
    model = onnx.load(folder / "model.onnx")
    table = numpy_helper.from_array(
        np.zeros((positions, served.embedding.shape[1]), dtype=np.float32), "table"
    )
    model.graph.initializer.append(table)
    added = [
        helper.make_node("Shape", ["input_ids"], ["length"], start=1, end=2),
        helper.make_node("Squeeze", ["length"], ["count"]),
        helper.make_node("Constant", [], ["zero"], value_int=0),
        helper.make_node("Constant", [], ["one"], value_int=1),
        helper.make_node("Range", ["zero", "count", "one"], ["places"]),
        helper.make_node("Gather", ["table", "places"], ["offsets"]),
        helper.make_node("Add", ["rows", "offsets"], ["states"]),
    ]
    model.graph.node[0].output[0] = "rows"
    nodes = [model.graph.node[0], *added, *model.graph.node[1:]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, folder / "model.onnx")
    served.manifest.save(folder)
    return folder


def changed(folder: Path, **values: Any) -> Path:
    """Edit values in the manifest of a folder."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "values",
    [
        {"labels": ["balance", "\ud800", "size", "transfer"]},
        {"temperature": 5e-324},
        {"max_length": 64},
    ],
    ids=["label", "temperature", "positions"],
)
def test_model_that_fails_every_request_is_not_loaded(
    served: Any, tmp_path: Path, values: dict[str, Any]
) -> None:
    watcher = ModelWatcher(FolderSource(with_positions(served, tmp_path / "onnx", 12)), 1)
    before = watcher.current
    changed(tmp_path / "onnx", **values)
    assert not watcher.check()
    assert watcher.current is before
    assert watcher.last_error
    with pytest.raises(InputError):
        ModelWatcher(FolderSource(tmp_path / "onnx"), 1)


def test_time_of_the_last_successful_check_is_kept(shelf: Shelf) -> None:
    watcher = ModelWatcher(shelf, 1)
    first = watcher.last_checked or 0.0
    assert abs(first - time.time()) < 60
    shelf.wanted = ""
    assert not watcher.check()
    assert watcher.last_checked == first
    shelf.wanted = "1"
    time.sleep(0.01)
    assert watcher.check()
    assert (watcher.last_checked or 0.0) > first


def test_stale_source_is_an_error(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    shelf.stale = "the registry gives no answer; version 1 is the last one known"
    watcher = ModelWatcher(shelf, 1)
    assert (watcher.current.version, watcher.last_error, watcher.checked_at) == ("1", shelf.stale, None)
    assert "the last one known" in caplog.text
    assert not watcher.check()
    shelf.stale = None
    assert watcher.check()
    assert watcher.last_error is None
    assert watcher.checked_at is not None


def test_check_that_does_not_end_is_an_error(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = ModelWatcher(shelf, 1)
    monkeypatch.setattr("tokensieve.server.model_watcher.SLOW_CHECK", 0.05)
    going_on, let_go = threading.Event(), threading.Event()
    monkeypatch.setattr(shelf, "version", lambda: going_on.set() or (let_go.wait(20) and "1"))
    thread = threading.Thread(target=watcher.check)
    thread.start()
    assert going_on.wait(20)
    time.sleep(0.1)
    assert "has not ended" in (watcher.last_error or "")
    let_go.set()
    thread.join()
    assert watcher.last_error is None


def test_unreadable_file_is_named_with_the_reason(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = served.write(tmp_path / "onnx")
    watcher = ModelWatcher(FolderSource(folder), 1)

    def refuse(path: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        assert not watcher.check()
    assert "Too many open files; allow more open files" in (watcher.last_error or "")
    assert "no manifest" not in (watcher.last_error or "")


def test_first_model_must_be_complete(shelf: Shelf) -> None:
    corrupt(shelf.folders["1"])
    with pytest.raises(InputError, match="SHA-256"):
        ModelWatcher(shelf, 1)


def test_folder_version_comes_from_its_manifest(served: Any, tmp_path: Path) -> None:
    folder = served.write(tmp_path / "onnx")
    watcher = ModelWatcher(FolderSource(folder), 1)
    before = watcher.current.version
    assert watcher.check()
    assert watcher.current.version == before
    replace(served.manifest, data_hash="other").save(folder)
    assert watcher.check()
    assert watcher.current.version != before
    assert answers(watcher) == "other"
    with pytest.raises(InputError, match=r"no manifest\.json"):
        FolderSource(tmp_path / "nowhere").version()


def test_folder_of_a_shared_model_is_followed(served: Any, tmp_path: Path) -> None:
    folder = served.write_shared(tmp_path / "shared")
    watcher = ModelWatcher(FolderSource(folder), 1)
    before = watcher.current
    assert list(before.model.tasks) == ["intent", "topics"]
    (folder / "topics.onnx").write_bytes(b"half")
    (folder / "shared.json").write_bytes((folder / "shared.json").read_bytes() + b"\n")
    assert not watcher.check()
    assert (watcher.current, "topics.onnx" in (watcher.last_error or "")) == (before, True)
    replace(served, weight=-served.weight).write_shared(folder)
    assert watcher.check()
    assert watcher.current.version != before.version


def test_follow_checks_until_it_is_stopped(shelf: Shelf) -> None:
    watcher = ModelWatcher(shelf, 1)
    thread = watcher.follow()
    shelf.wanted = "2"
    deadline = time.monotonic() + 10
    while watcher.current.version != "2" and time.monotonic() < deadline:
        time.sleep(0.01)
    watcher.stop()
    thread.join(10)
    assert (watcher.current.version, thread.is_alive()) == ("2", False)
