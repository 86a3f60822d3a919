"""review.csv: safe in a spreadsheet, and read back as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.auditing.audited_texts import AuditedTexts
from tasks.auditing.review_file import COLUMNS, read_review, review_cells, text_id, write_review
from tasks.auditing.review_rows import ReviewRow
from tokensieve.data.safe_cells import FORMULA, plain_cell, safe_cell
from tokensieve.errors import InputError
from tokensieve.settings import Settings

HEAD = "file,row,right_label,text_id"


@given(st.text(alphabet="=+-@'\t\rab", max_size=5))
def test_no_cell_is_a_formula_and_each_is_read_as_it_was(cell: str) -> None:
    assert not safe_cell(cell).startswith(FORMULA)
    assert plain_cell(safe_cell(cell)) == cell


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_answers_are_read_as_spreadsheets_write_them(tmp_path: Path, delimiter: str) -> None:
    rows = [["text_id", "row", "text", "right_label", "file"], ["t1", "7", "a\nb", " card ", "x.csv"]]
    rows += [["t2", "8", "", "", "x.csv"], ["t3", "9", "", "'+1 plan", "x.csv"]]
    path = tmp_path / "review.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    found = [(answer.line, answer.file, answer.row, answer.id, answer.right) for answer in read_review(path)]
    assert found == [
        (2, "x.csv", 7, "t1", "card"),
        (4, "x.csv", 8, "t2", ""),
        (5, "x.csv", 9, "t3", "+1 plan"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label\na,b\n", "has no column file, row, right_label, text_id"),
        (b"", "has no column"),
        (f"{HEAD}\nx.csv,seven,a,t1\n".encode(), "line 2: row is 'seven'"),
        (f'{HEAD}\nx.csv,7,"a,t1\n'.encode(), "save it as CSV again"),
        (b"\xff", "save it as CSV in UTF-8"),
        (None, "does not exist"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "review.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_review(path)


def test_a_review_saved_as_unicode_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    path.write_bytes("file\trow\tright_label\tid\nx.csv\t7\tmoña\tt1\n".encode("utf-16"))
    assert [answer.right for answer in read_review(path)] == ["moña"]


def test_a_review_of_an_earlier_version_has_another_name_for_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    path.write_text("file,row,right_label,id,data_id\nx.csv,7,card,t1,4711\n")
    assert [(answer.id, answer.right) for answer in read_review(path)] == [("t1", "card")]
    path.write_text("file,row,right_label,text_id,id\nx.csv,7,card,t1,4711\n")
    assert [answer.id for answer in read_review(path)] == ["t1"]


@pytest.mark.parametrize(
    ("column", "shown"), [(None, None), ("id", "id"), ("=ticket", "'=ticket"), ("row", "data_id")]
)
def test_the_users_ids_are_the_last_column_by_its_name(
    tmp_path: Path, column: str | None, shown: str | None
) -> None:
    found = AuditedTexts(
        ["lost card"], [("card",)], ["train"], ["train"], [7], [0], ["T7"], [8], {"train": "x.csv"}
    )
    path = tmp_path / "review.csv"
    settings = Settings.of({"data": {"id_column": column}})
    write_review(path, [ReviewRow(0, ["likely label error"])], found, settings)
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, row = csv.reader(file)
    assert head == [*COLUMNS, *([shown] if shown else [])]
    assert row[head.index("row")] == "7"
    assert row[len(COLUMNS) :] == (["T7"] if shown else [])
    assert read_review(path)[0].id == text_id("lost card", ("card",))
    assert review_cells(path)[0].get(column or "text") == (
        "lost card" if column is None else "7" if column == "row" else "T7"
    )


def test_a_review_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; name the file, such as .*review\.csv"):
        read_review(tmp_path)
    path = tmp_path / "review.csv"
    path.write_bytes(f"{HEAD}\rx\nx.csv,7,Größe,t1\n".encode("cp1252"))
    with pytest.raises(InputError, match="is not UTF-8; it may be cp1252: save it as CSV in UTF-8"):
        read_review(path)
