"""No cell is a formula for a spreadsheet, and each is read as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.data.safe_cells import FORMULA, NUMBER, has_safe_cells, plain_cell, safe_cell, safe_value
from tokensieve.data.table_readers import read_chunks, read_rows

BEGINNINGS = st.sampled_from(["", "'", "''", "\0", *FORMULA])


@given(BEGINNINGS, BEGINNINGS, st.text(st.sampled_from("=-+@'5a\t\r\0"), max_size=3))
def test_no_cell_is_a_formula_and_each_is_read_as_it_was(first: str, second: str, rest: str) -> None:
    cell = first + second + rest
    for safe in (safe_cell(cell), safe_value(cell)):
        assert not safe.replace("\0", "").startswith(FORMULA) or NUMBER.fullmatch(safe)
    assert not safe_cell(cell).startswith(FORMULA)
    assert plain_cell(safe_cell(cell)) == cell.replace("\0", "")
    assert plain_cell(safe_value(cell)) == cell


@pytest.mark.parametrize("number", ["-5", "+7.25", "-.5", "-1e-3", "12"])
def test_numbers_stay_for_programs(number: str) -> None:
    assert safe_value(number) == number
    assert safe_value(f"{number}%").lstrip("'") == f"{number}%"


@pytest.mark.parametrize("formula", ["-5+cmd", "+49 170", "=1", "@a", "-", "-1.2.3", "\0=1", "-٣"])
def test_what_is_no_number_gets_an_apostrophe(formula: str) -> None:
    assert safe_value(formula) == f"'{formula}"


def test_tables_of_predictions_are_known_by_their_columns() -> None:
    assert has_safe_cells(["text", "label", "probability", "uncertain", "truncated"])
    assert has_safe_cells(["text", "topic_uncertain", "topic_truncated"])
    assert has_safe_cells(["part", "row", "text", "label", "predicted", "second", "uncertain"])
    assert not has_safe_cells(["text", "label", "uncertain"])
    assert not has_safe_cells([])


@pytest.mark.parametrize("added", [True, False])
def test_only_tables_of_predictions_are_read_without_apostrophes(tmp_path: Path, added: bool) -> None:
    path = tmp_path / "a.csv"
    columns = ["uncertain", "truncated"] if added else ["a", "b"]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "label", *columns], ["'- one", "'-5", "", ""]])
    text, label = ("- one", "-5") if added else ("'- one", "'-5")
    assert list(read_rows(path, ["text"], ["label"])) == [(1, 2, [text, label])]
    _, chunks = read_chunks(path, "text")
    assert next(chunks).texts == [text]
