"""Rows at fault by line and id, as people find them in their file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tasks.validate import validate
from tokensieve.data.examples import Examples
from tokensieve.data.raw_data import find_part_files, read_raw_once
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings

HEADER = "ticket,text,label\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path)
    found.raw.mkdir(parents=True)
    found.champion.write_text("{}", encoding="utf-8")
    # A quoted text on three lines, and blank lines: records and lines differ.
    rows = [f"T{i},{'=' if i == 1 else ''}text {i},{'ab'[i % 2]}" for i in range(30)]
    rows[0] = 'T0,"a\nb\nc",a'
    rows[5] = "\nT5,,b"
    rows[9] = "T9,,a"
    (found.raw / "train.csv").write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    return found


def faults(layout: Layout) -> list[dict[str, str]]:
    text = (layout.validation / "faults.csv").read_text(encoding="utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


def test_messages_name_the_line_of_the_file(layout: Layout) -> None:
    with pytest.raises(InputError, match=r"empty: 2 rows with an empty text \(line 10, line 14\)"):
        validate(layout, Settings())
    lines = (layout.raw / "train.csv").read_text(encoding="utf-8").split("\n")
    assert [lines[int(row["line"]) - 1] for row in faults(layout)] == ["T5,,b", "T9,,a"]
    assert [row["row"] for row in faults(layout)] == ["6", "10"]
    assert [row["id"] for row in faults(layout)] == ["", ""]


def test_and_the_id_if_there_is_a_column_with_it(layout: Layout) -> None:
    settings = Settings.of({"data": {"id_column": "ticket"}})
    with pytest.raises(InputError) as raised:
        validate(layout, settings)
    assert "(line 10, id 'T5'; line 14, id 'T9')" in str(raised.value)
    assert "  line 14, id 'T9': text ''" in raised.value.detail
    assert [row["id"] for row in faults(layout)] == ["T5", "T9"]
    docs = (layout.validation / "docs" / "index.html").read_text(encoding="utf-8")
    assert "<td>empty</td><td>train</td><td>line 10, id &#39;T5&#39;</td><td>b</td>" in docs


def test_all_rows_are_in_the_table_and_none_is_a_formula(layout: Layout) -> None:
    rows = "".join(f"X{i},=cmd{i},{'ab'[i % 2]}\n" for i in range(60))
    (layout.raw / "train.csv").write_text(HEADER + rows, encoding="utf-8")
    with pytest.raises(InputError, match=r"60 rows with .* \(line 2, line 3, line 4 and 57 more\)"):
        validate(layout, Settings.of({"validate": {"max_characters": 3}}))
    found = faults(layout)
    assert len(found) == 60
    assert all(row["text"].startswith("'=cmd") for row in found)


def test_data_without_faults_have_no_table(layout: Layout) -> None:
    rows = "".join(f"X{i},text {i},{'ab'[i % 2]}\n" for i in range(60))
    (layout.raw / "train.csv").write_text(HEADER + rows, encoding="utf-8")
    validate(layout, Settings())
    assert not (layout.validation / "faults.csv").exists()


def test_lines_are_kept_with_the_texts(layout: Layout, tmp_path: Path) -> None:
    files = find_part_files(layout.raw)
    for _ in range(2):  # parsed, and found again
        found = read_raw_once(files, Settings().data, layout.parsed).parts["train"]
        assert found.lines[:7] == [2, 5, 6, 7, 8, 10, 11]
    assert (found.place(5), found.place(0)) == ("line 10", "line 2")
    taken = found.take([9, 0])
    taken.save(tmp_path / "part.jsonl")
    assert Examples.load(tmp_path / "part.jsonl").lines == [14, 2]


def test_ids_are_kept_with_the_texts(layout: Layout, tmp_path: Path) -> None:
    columns = Settings.of({"data": {"id_column": "ticket"}}).data
    files = find_part_files(layout.raw)
    for _ in range(2):  # parsed, and found again
        found = read_raw_once(files, columns, layout.parsed).parts["train"]
        assert (found.ids[0], found.ids[9], len(found.ids)) == ("T0", "T9", 30)
    taken = found.take([9, 0])
    taken.save(tmp_path / "part.jsonl")
    assert Examples.load(tmp_path / "part.jsonl") == taken
    assert read_raw_once(files, Settings().data, layout.parsed).parts["train"].ids == []
    missing = Settings.of({"data": {"id_column": "number"}}).data
    with pytest.raises(InputError, match=r"no column 'number'; .* --set data.id_column=COLUMN"):
        read_raw_once(files, missing, layout.parsed).checked()
