"""A quote that is never closed joins rows: such a file is refused, and honest texts are read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tokensieve.data.test_dialects import pairs_of
from tokensieve.data.dialects import SAMPLE
from tokensieve.data.table_readers import read_chunks
from tokensieve.errors import InputError

BROKEN = 'text,label\nhi,a\n"hello there,a\nnice day,b\nscreen 7",c\nbye,a\nsoon,b\n'


@pytest.mark.parametrize(
    "table",
    [
        BROKEN,
        'text,label\n"hello there,a\nnice day,b\nscreen 7",c\nbye,a\n',
        BROKEN.replace("\n", "\r\n"),
        BROKEN.replace(",", ";"),
        "id,text,label\n" + "".join(f"{i},{line}\n" for i, line in enumerate(BROKEN.splitlines()[1:])),
        "label,text\n" + "a,hi\n" + 'a,"hello\nb,nice\nc,screen 7"\n' + "b,soon\n",
        "text,stars\n" + 'so so,3\n"good,3\nbad,1\nscreen 7",5\nno,1\n',
    ],
)
def test_rows_that_a_quote_joins_are_refused(tmp_path: Path, table: str) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(table.encode())
    with pytest.raises(InputError, match=r"row \d \(lines [23] to [45]\): a quote joins lines that are rows"):
        list(read_chunks(path, "text")[1])


def test_a_quote_that_joins_many_rows_is_refused(tmp_path: Path) -> None:
    rows = [f"my order {i} is late,label {i % 7}" for i in range(400)]
    rows[50], rows[200] = '"my order 50,label 1', 'a screen of 7",label 2'
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(
        InputError, match=r"row 51 \(lines 52 to 202\).* in column 'label', such as 'label 1'"
    ):
        pairs_of(path)


@pytest.mark.parametrize(
    "texts",
    [
        ("Hello,\nI would like, to return it\nBye", "short"),
        ("Dear Sir,\nYours,\nTom", "Yours, Tom"),
        ("Price 4,5\nSpeed 3,4\nthanks", "Price 5,4\nall"),
        ("please,send it\nback", "a"),
        ("two lines\n\nof text", "a,\nb,\nc"),
        ("order,product\n17,shoes\nas above", "17"),
    ],
)
@pytest.mark.parametrize("labels", [("return", "greet"), ("4", "5"), ("", "send")])
def test_texts_of_several_lines_are_read(tmp_path: Path, texts: Sequence[str], labels: Sequence[str]) -> None:
    rows = list(zip(texts, labels, strict=True)) * 3
    for name, delimiter in (("train.csv", ","), ("semicolons.csv", ";"), ("train.tsv", "\t")):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([("text", "label"), *rows])
        read = [text for chunk in read_chunks(tmp_path / name, "text")[1] for text in chunk.texts]
        assert read == [text for text, _ in rows]


@pytest.mark.parametrize(
    "table",
    [
        'label,text\nrefund,one\nrefund,"Hello there\nI was charged twice, please help"\nlost,two\n',
        'channel,text,label\nmail,one,lost\nmail,"Hello, my card is lost\nThanks, Bob",lost\n',
    ],
)
def test_the_row_itself_says_nothing_about_its_lines(tmp_path: Path, table: str) -> None:
    path = tmp_path / "train.csv"
    path.write_text(table)
    assert "\n" in pairs_of(path)[1][0]


def test_many_values_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokensieve.data.joined_rows.MOST_VALUES", 4)
    path = tmp_path / "train.csv"
    path.write_text("id,text,label\n" + "".join(f"{i},t{i},a\n" for i in range(9)) + '9,"x,a\n10,y",b\n')
    with pytest.raises(InputError, match="in column 'label', such as 'a'"):
        pairs_of(path)


def test_quoted_cells_after_the_beginning_of_a_tsv_file_are_read(tmp_path: Path) -> None:
    rows = [(f"{'text ' * 20}{i}", "ab") for i in range(SAMPLE // 100)]
    rows += [('He said "hi"', "b"), ("two\nlines", "c"), ("a\ttab", "ab")]
    path = tmp_path / "train.tsv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([("text", "label"), *rows])
    assert pairs_of(path) == rows


def test_quotes_after_the_beginning_of_a_tsv_file_without_quotes_are_characters(tmp_path: Path) -> None:
    rows = [f"{'text ' * 20}{i}\tab" for i in range(SAMPLE // 100)]
    rows += ['"hello\ta', "my order\tb", 'screen 7"\tc']
    path = tmp_path / "train.tsv"
    path.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    assert pairs_of(path) == [tuple(row.split("\t")) for row in rows]
