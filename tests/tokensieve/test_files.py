from __future__ import annotations

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.killed import killed_before_each_change
from tokensieve import files
from tokensieve.errors import InputError
from tokensieve.files import (
    atomic_file,
    atomic_folder,
    complete_replacement,
    holder,
    locked,
    note_step,
    read_json,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_block_replaces_the_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    for content in ("old", "new"):
        with atomic_folder(folder) as beside:
            assert names(beside) == []
            (beside / f"{content}.txt").write_text(content, encoding="utf-8")
    assert names(folder) == ["new.txt"]
    assert names(folder.parent) == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_block_keeps_the_earlier_folder(tmp_path: Path, error: type[BaseException]) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old.txt").write_text("old", encoding="utf-8")
    with pytest.raises(error), atomic_folder(folder) as beside:
        (beside / "half.txt").write_text("half", encoding="utf-8")
        raise error
    assert (folder / "old.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out"]


def test_a_temporary_folder_of_a_killed_run_is_not_used(tmp_path: Path) -> None:
    (tmp_path / ".out.new").mkdir()
    (tmp_path / ".out.new" / "stale.txt").touch()
    with atomic_folder(tmp_path / "out") as beside:
        (beside / "new.txt").touch()
    assert names(tmp_path / "out") == ["new.txt"]


def test_a_kill_at_any_moment_leaves_the_earlier_or_the_new_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def write(*contents: str) -> None:
        with atomic_folder(folder) as beside:
            for content in contents:
                (beside / f"{content}.txt").write_text(content, encoding="utf-8")

    def found() -> list[str]:
        complete_replacement(folder)
        return [path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())]

    write("a", "b")
    seen = []
    for _ in killed_before_each_change(lambda: write("c", "d"), tmp_path):
        seen.append(found())
        assert seen[-1] in (["a", "b"], ["c", "d"])
        write("a", "b")
    assert ["c", "d"] in seen
    assert found() == ["c", "d"]
    assert names(tmp_path) == ["out"]


def test_writers_at_once_leave_the_whole_content_of_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    together = threading.Barrier(8)

    def write(number: int) -> None:
        together.wait()
        for _ in range(20):
            write_text(path, f"{number}" * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    content = path.read_text(encoding="utf-8")
    assert content == content[0] * 10_000
    assert names(tmp_path) == ["report.json"]


def test_temporary_files_of_killed_processes_are_removed_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for _ in killed_before_each_change(lambda: write_text(path, "killed"), tmp_path):
        pass
    kept = {
        f".report.json.{files._machine()}-{os.getppid()}-7.new",
        ".report.json.another_host-99999999-7.new",
    }
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / f".report.json.{files._machine()}-99999999-7.new").touch()
    write_text(path, "new")
    assert set(names(tmp_path)) == kept | {"report.json"}


def test_json_is_read_back_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    tree = {"b": [1, 2.5, None], "a": {"größe": "“x”\n"}}
    write_json(tmp_path / "report.json", tree)
    assert read_json(tmp_path / "report.json") == tree
    assert "größe" in (tmp_path / "report.json").read_text(encoding="utf-8")
    assert names(tmp_path) == ["report.json"]


def test_json_that_cannot_be_written_leaves_the_earlier_file(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", {"n": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "report.json", {"n": object()})
    assert read_json(tmp_path / "report.json") == {"n": 1}
    assert names(tmp_path) == ["report.json"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_files_get_the_mode_that_the_umask_allows(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_folder(tmp_path / "out") as beside:
            save_file({"a": np.zeros(1)}, beside / "x.safetensors")
        with atomic_file(tmp_path / "y.safetensors") as file:
            save_file({"a": np.zeros(1)}, file)
    finally:
        os.umask(before)
    assert [
        path.stat().st_mode & 0o777
        for path in (tmp_path / "out" / "x.safetensors", tmp_path / "y.safetensors")
    ] == [0o666 & ~umask] * 2
    assert names(tmp_path) == ["out", "y.safetensors"]


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"a": ')
    with pytest.raises(
        InputError, match=r"report.json is damaged .* delete it and run the same command again"
    ):
        read_json(tmp_path / "report.json")


def test_who_waits_for_a_lock_learns_since_when_and_for_which_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, said = tmp_path / "lock", []
    monkeypatch.setattr(files.log, "info", lambda text, *values: said.append(text % values))
    assert holder(lock) is None
    with ThreadPoolExecutor() as pool:
        with locked(lock):
            note_step(lock, "finetune")
            known = holder(lock)
            second = pool.submit(locked(lock).__enter__)
            end = time.monotonic() + 60
            while not said and time.monotonic() < end:
                time.sleep(0.01)
        second.result()
    assert known is not None
    assert known.step == "finetune"
    assert abs(known.since - time.time()) < 60
    assert re.match(
        r"waiting for another run of this project, which began at \d\d:\d\d and is at finetune", said[0]
    )


def test_the_note_of_a_killed_process_does_not_count(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    write_json(tmp_path / "lock.holder", {"pid": 1, "since": 1.0, "step": "evaluate"})
    assert holder(lock) is None
    note_step(lock, "finetune")  # of another process
    assert "evaluate" in (tmp_path / "lock.holder").read_text()
