from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokensieve.dataset import FORMATS, Examples, part_files, read_examples
from tokensieve.errors import InputError

PAIRS = [("where is it", "track"), ('she said "no", twice', "refund"), ("two\nlines\ttab", "größe"), ("", "track"), ("late", "")]
# All that UTF-8 and CSV can hold: no lone surrogates, no NUL.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LABEL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0."), max_size=10)


def write(path: Path, pairs: list[tuple[Any, Any]], header: tuple[str, str] = ("text", "label")) -> Path:
    """`pairs` in the format that the path's ending names."""
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            rows.writerows([header, *pairs])
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(header, pair, strict=True))) + "\n" for pair in pairs), encoding="utf-8")
    else:
        columns = zip(header, zip(*pairs, strict=True), strict=True)
        pyarrow.parquet.write_table(pyarrow.table({name: list(values) for name, values in columns}), path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes bytes under a name and gives the path."""

    def make(content: bytes, name: str = "train.csv") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return make


def refused(path: Path, words: str, **columns: Any) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_examples(path, **columns)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_reads_back(tmp_path: Path, suffix: str) -> None:
    examples = read_examples(write(tmp_path / f"train{suffix}", PAIRS))
    assert list(zip(examples.texts, examples.labels, strict=True)) == PAIRS
    assert examples.rows == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_may_have_other_names_and_labels_may_be_left_out(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"train{suffix}", PAIRS[:2], header=("utterance", "intent"))
    assert read_examples(path, "utterance", "intent").labels == ["track", "refund"]
    assert read_examples(path, "utterance", None) == Examples([text for text, _ in PAIRS[:2]], [], [1, 2])


def test_endings_are_read_in_capitals_too(tmp_path: Path, file: Callable[..., Path]) -> None:
    assert read_examples(file(b"text\tlabel\nx\ty\n", "train.TSV")).labels == ["y"]
    assert part_files(tmp_path) == {"train": tmp_path / "train.TSV"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, LABEL), min_size=1, max_size=6))
def test_any_text_reads_back_from_csv(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    examples = read_examples(write(tmp_path / "train.csv", pairs))
    assert examples.texts == [text for text, _ in pairs]
    assert examples.labels == [label.strip() for _, label in pairs]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, TEXT, st.integers(1)), max_size=6), st.booleans())
def test_any_examples_are_saved_and_loaded(tmp_path: Path, rows: list[tuple[str, str, int]], labelled: bool) -> None:
    labels = [label for _, label, _ in rows] if labelled else []
    examples = Examples([text for text, _, _ in rows], labels, [row for _, _, row in rows])
    examples.save(tmp_path / "train.jsonl")
    assert Examples.load(tmp_path / "train.jsonl") == examples
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


def test_taken_examples_keep_the_order_asked_for_and_their_rows() -> None:
    examples = Examples(["a", "b", "c"], ["x", "y", "z"], [1, 2, 4])
    assert examples.take([2, 0]) == Examples(["c", "a"], ["z", "x"], [4, 1])
    assert Examples(["a"], [], [7]).take([0]) == Examples(["a"], [], [7])
    assert len(examples) == 3


def test_a_byte_order_mark_and_windows_line_ends_are_read(file: Callable[..., Path]) -> None:
    assert read_examples(file(b"\xef\xbb\xbftext,label\r\nwhere is it,track\r\nlate,track\r\n")).texts == ["where is it", "late"]
    assert read_examples(file(b'\xef\xbb\xbf{"text": "late", "label": "track"}\r\n', "train.jsonl")).labels == ["track"]


def test_quoted_texts_keep_their_line_ends_and_blank_lines_are_no_rows(file: Callable[..., Path]) -> None:
    examples = read_examples(file(b'text,label\n"one\r\n\r\ntwo",a\n\n\n"say ""hi""",b\n'))
    assert examples == Examples(["one\r\n\r\ntwo", 'say "hi"'], ["a", "b"], [1, 2])


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_very_long_text_is_read(tmp_path: Path, suffix: str) -> None:
    text = "wörd " * 40_000
    assert read_examples(write(tmp_path / f"train{suffix}", [(text, "a")])).texts == [text]


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_numbers_are_names(tmp_path: Path, suffix: str) -> None:
    assert read_examples(write(tmp_path / f"train{suffix}", [("x", 3), ("y", 10)])).labels == ["3", "10"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_fractions_are_no_labels(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"train{suffix}", [("x", 1.0), ("y", 0.25)])
    refused(path, "row 1: label '1.0' in column 'label' is a fraction; ")


def test_names_with_points_are_labels(file: Callable[..., Path]) -> None:
    assert read_examples(file(b"text,label\nx,v1.0\ny,1.2.3\nz, a b \n")).labels == ["v1.0", "1.2.3", "a b"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_absent_values_are_empty(tmp_path: Path, suffix: str) -> None:
    examples = read_examples(write(tmp_path / f"train{suffix}", [(None, "a"), ("x", None)]))
    assert (examples.texts, examples.labels) == (["", "x"], ["a", ""])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "train.csv is empty; it needs a header"),
        (b"text,label\n", "train.csv holds a header and no row"),
        (b"text,label\n\n\n", "train.csv holds a header and no row"),
        (b"text\nx\n", "has no column 'label'; it has 'text': name the right one with --set data.label=COLUMN"),
        (b"utterance,label\nx,y\n", "has no column 'text'; it has 'utterance', 'label': name the right one with --set data.text=COLUMN"),
        (b"text;label\nx;y\n", "has no column 'text'; it has 'text;label'"),
        (b"text,label\nx,y\n\xfcber,y\n", "line 3: byte 0xfc at column 1 is not UTF-8; save the file as UTF-8 (it may be Latin-1"),
        (b"text,label\na\0b,y\n", "line 2: a NUL byte at column 2; remove it"),
        (b'text,label\nx,y\n"never closed,y\nz,y\n', "row 2 (from line 3): a quote is opened and never closed"),
        (b'text,label\n\n"x"y,z\n', "row 1 (from line 3): "),
        (b"text,label\nx,y\n\nhello, world,y\n", "row 2 (line 4) has 3 columns, the header 2; put quotes around"),
        (b"text,label\nx\n", "row 1 (line 2) has 1 columns, the header 2"),
        (b'text,label\n"two\nlines",y\nx\n', "row 2 (line 4) has 1 columns"),
        (b"text,label\rx,y\r", "row 1 (from line 1): a carriage return stands alone; end lines with LF or CRLF"),
        (b'"text,label\nx,y\n', "row 1 (from line 1): a quote is opened and never closed"),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_place(file: Callable[..., Path], content: bytes, words: str) -> None:
    refused(file(content), words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "train.jsonl is empty"),
        (b"\n \n", "holds a header and no row"),
        (b'{"text": "x", "label": "y"}\n\n{"text": "x"', "row 2: not JSON ("),
        (b'"text"\n', "row 1: holds 'text'; one object a line, with keys text, label"),
        (b"[1]\n", "row 1: holds '[1]'; one object a line"),
        (b'{"text": "x"}\n', "has no column 'label'; it has 'text'"),
        (b'{"text": 5, "label": "y"}\n', "row 1: 'text' holds '5'; give a text"),
        (b'{"text": ["x"], "label": "y"}\n', "row 1: 'text' holds \"['x']\"; give a text"),
        (b'{"text": "x", "label": ["y"]}\n', "row 1: 'label' holds \"['y']\"; give a text"),
        (b'{"text": "x", "label": 0.5}\n', "row 1: label '0.5' in column 'label' is a fraction"),
        (b'{"text": "\xe4", "label": "y"}\n', "line 1: byte 0xe4 at column 11 is not UTF-8"),
        (b'{"text": "x", "label": ' + b"9" * 5000 + b"}\n", "row 1: JSON that cannot be read ("),
        (b"[" * 100_000 + b"\n", "row 1: JSON that cannot be read ("),
    ],
)
def test_a_bad_jsonl_file_is_refused_with_its_place(file: Callable[..., Path], content: bytes, words: str) -> None:
    refused(file(content, "train.jsonl"), words)


def test_a_parquet_column_of_numbers_is_no_text(tmp_path: Path) -> None:
    refused(write(tmp_path / "train.parquet", [(1, "a"), (2, "b")]), "column 'text' holds int64; give texts")
    refused(write(tmp_path / "train.parquet", [("x", "a")], ("t", "label")), "has no column 'text'; it has 't', 'label'")


def test_parquet_texts_may_be_of_every_text_type(tmp_path: Path) -> None:
    for kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())):
        columns = {name: pyarrow.array(["x", None], pyarrow.string()).cast(kind) for name in ("text", "label")}
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
        assert read_examples(tmp_path / "train.parquet").texts == ["x", ""]


def damaged(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    return {
        "text": b"text,label\n",
        "cut": content[:middle],
        "foot": content[:-40] + b"\xff" * 32 + content[-8:],
        "data": content[:4] + b"\xff" * 200 + content[204:],
    }


@pytest.mark.parametrize("how", ["text", "cut", "foot", "data"])
def test_a_damaged_parquet_file_is_refused(tmp_path: Path, file: Callable[..., Path], how: str) -> None:
    content = write(tmp_path / "whole.parquet", [(f"text {i}", "a") for i in range(200)]).read_bytes()
    refused(file(damaged(content)[how], "train.parquet"), "is not a Parquet file, or a damaged one, after row 0 (")


def test_parquet_texts_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    columns = {name: pyarrow.array([b"\xfcber"], pyarrow.binary()).cast(pyarrow.string(), safe=False) for name in ("text", "label")}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    refused(tmp_path / "train.parquet", "after row 0 ('utf-8' codec can't decode byte 0xfc")


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    columns = {name: pyarrow.array([], pyarrow.string()) for name in ("text", "label")}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    refused(tmp_path / "train.parquet", "holds a header and no row")


def test_a_file_that_is_missing_or_of_another_format_is_refused(tmp_path: Path, file: Callable[..., Path]) -> None:
    refused(tmp_path / "train.csv", "does not exist; give a .csv, .tsv, .jsonl, .parquet file")
    refused(file(b"x", "train.xlsx"), "has the ending '.xlsx'; allowed: .csv, .tsv, .jsonl, .parquet")


def test_the_parts_of_a_folder_are_found(tmp_path: Path, file: Callable[..., Path]) -> None:
    for name in ("train.csv", "test.jsonl", "oos.tsv", "validation.parquet", "notes.txt", "train.md", "other.csv"):
        file(b"x", name)
    assert {part: path.name for part, path in part_files(tmp_path).items()} == {
        "train": "train.csv",
        "test": "test.jsonl",
        "oos": "oos.tsv",
        "validation": "validation.parquet",
    }


def test_a_folder_must_hold_one_training_file(tmp_path: Path, file: Callable[..., Path]) -> None:
    file(b"x", "test.csv")
    with pytest.raises(InputError, match=r"holds no training file; put one of train\.csv, train\.tsv"):
        part_files(tmp_path)
    file(b"x", "train.csv")
    file(b"x", "train.jsonl")
    with pytest.raises(InputError, match=r"holds both train\.csv and train\.jsonl; keep one"):
        part_files(tmp_path)
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        part_files(tmp_path / "nowhere")
