"""A quote that is never closed is named by its line, and is not read to the end of a large file."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensieve.data import open_quotes
from tokensieve.data.open_quotes import OpenQuoteError, RowLines
from tokensieve.data.text_tables import read_lines, read_records
from tokensieve.errors import InputError


@pytest.mark.parametrize(
    ("name", "table", "place"),
    [
        ("a.csv", 'text,label\nx,y\n"open,y\nz,y\n', r"row 2 \(from line 3\): the quote in line 3 is"),
        (
            "a.csv",
            'a,b,c\n"1\n2",7" "",\n3,"4\n5","open\n6,7\n',
            r"row 2 \(from line 4\): the quote in line 5 is",
        ),
        ("a.csv", 'sep=;\na;b\n"1\n""\n";"2\n\n3\n', r"row 1 \(from line 3\): the quote in line 5 is"),
        ("a.csv", 'a,"open\n1,2\n', r"row 1 \(from line 1\): the quote in line 1 is"),
    ],
)
def test_the_line_of_the_quote_is_named(tmp_path: Path, name: str, table: str, place: str) -> None:
    for ending in ("\n", "\r\n"):
        (tmp_path / name).write_bytes(table.replace("\n", ending).encode())
        with pytest.raises(InputError, match=rf"{place} never closed; close it, or double the quotes"):
            list(read_records(tmp_path / name, read_lines(tmp_path / name)))


def test_an_endless_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        yield from ("text,label\n", "x,a\n", 'y,"a\n')
        for number in itertools.count():
            read += 20
            yield f"text {number:>12},a\n"

    words = r"row 2 \(from line 3\): the quote in line 3 is not closed within 4,194,304 characters"
    with pytest.raises(InputError, match=words):
        list(read_records(tmp_path / "a.csv", endless()))
    assert read < 1.1 * open_quotes.MOST


def test_long_texts_are_read_in_one_line_or_below_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_quotes, "MOST", 100)
    rows = [
        ["text", "label"],
        ["long " * 50, "a"],
        ["two\n" * 20, "b"],
        ["x" * 95 + "\n" + "x" * 95, "c"],
    ] * 9
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert [cells for _, cells in read_records(path, read_lines(path))] == rows


CELL = st.text(st.sampled_from([*'a", \n']), max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(CELL, min_size=1, max_size=4), st.text(st.sampled_from([*"a, \n"]), max_size=8))
def test_the_open_quote_is_the_one_after_the_complete_cells(cells: list[str], rest: str) -> None:
    complete = "".join(
        '"' + cell.replace('"', '""') + '",' if set(cell) & set('",\n') else f"{cell}," for cell in cells
    )
    lines = f'{complete}"{rest}'.splitlines(keepends=True)
    kept = RowLines(",")
    with pytest.raises(csv.Error, match="unexpected end of data"):
        list(csv.reader(kept.feed(iter(lines)), strict=True))
    assert kept.opened() == complete.count("\n")


def test_only_the_lines_of_the_present_row_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_quotes, "MOST", 20)
    kept = RowLines(",")
    lines = kept.feed(iter(["0123456789\n"] * 7))
    for _ in range(4):
        next(lines)
        kept.end_row()
    next(lines)
    next(lines)
    with pytest.raises(OpenQuoteError):
        next(lines)
