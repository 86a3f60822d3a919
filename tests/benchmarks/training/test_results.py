from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

import pytest

from benchmarks.training.results import append, read, read_all
from tokensieve.errors import InputError


def test_records_are_appended_and_the_last_one_of_a_cell_counts(tmp_path: Path) -> None:
    path = tmp_path / "results" / "10-cpu.jsonl"
    assert read(path) == {}
    for cell, score in (("b", 1), ("a", 2), ("b", 3)):
        append(path, {"cell": cell, "score": score, "text": "größe\n"})
    assert {cell: record["score"] for cell, record in read(path).items()} == {"b": 3, "a": 2}
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3
    append(path.with_name("5-cpu.jsonl"), {"cell": "aa"})
    assert [record["cell"] for record in read_all(path.parent)] == ["a", "aa", "b"]


@pytest.mark.parametrize("rest", ["{", '{"cell": "c"}', "x" * 200_000])
@pytest.mark.parametrize("lines", [0, 2])
def test_partial_last_line_is_ignored_and_then_removed(tmp_path: Path, lines: int, rest: str) -> None:
    path = tmp_path / "10-cpu.jsonl"
    for number in range(lines):
        append(path, {"cell": str(number)})
    with path.open("a", encoding="utf-8") as file:
        file.write(rest)
    assert list(read(path)) == [str(number) for number in range(lines)]
    append(path, {"cell": "next"})
    assert list(read(path)) == [*(str(number) for number in range(lines)), "next"]


def test_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "10-cpu.jsonl"
    path.write_text('{"cell": "a"}\n{"cell"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"10-cpu\.jsonl, line 2, is not a result; remove the line"):
        read(path)


def test_processes_append_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "10-cpu.jsonl"
    processes = [get_context("spawn").Process(target=_append_many, args=(path, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert set(read(path)) == {f"{name}{number}" for name in "ab" for number in range(50)}


def _append_many(path: Path, name: str) -> None:
    for number in range(50):
        append(path, {"cell": f"{name}{number}", "text": "x" * 5000})
