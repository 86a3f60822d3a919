from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.folder import read_json, replaced, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_block_replaces_the_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    for content in ("old", "new"):
        with replaced(folder) as beside:
            assert names(beside) == []
            (beside / f"{content}.txt").write_text(content, encoding="utf-8")
    assert names(folder) == ["new.txt"]
    assert names(folder.parent) == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_block_keeps_the_earlier_folder(tmp_path: Path, error: type[BaseException]) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old.txt").write_text("old", encoding="utf-8")
    with pytest.raises(error), replaced(folder) as beside:
        (beside / "half.txt").write_text("half", encoding="utf-8")
        raise error
    assert (folder / "old.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out"]


def test_what_a_killed_run_left_beside_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".out.new").mkdir()
    (tmp_path / ".out.new" / "stale.txt").touch()
    with replaced(tmp_path / "out") as beside:
        (beside / "new.txt").touch()
    assert names(tmp_path / "out") == ["new.txt"]


def test_json_reads_back_and_leaves_nothing_beside(tmp_path: Path) -> None:
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
