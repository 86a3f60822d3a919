from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokensieve.data.examples import Examples
from tokensieve.data.normalize import is_blank
from tokensieve.data.raw_data import (
    drop_unlabelled,
    find_part_files,
    read_examples,
    read_raw,
    read_raw_once,
)
from tokensieve.data.table_formats import ENDINGS, FORMATS
from tokensieve.errors import InputError
from tokensieve.settings import Data

PAIRS = [
    ("where is it", "track"),
    ('she said "no", twice', "refund"),
    ("two\nlines\ttab", "größe"),
    ("", "track"),
    ("late", ""),
]
# All that UTF-8 and CSV can hold: no lone surrogates, no NUL.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LABEL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0.eE"), max_size=10)


def write(path: Path, pairs: list[tuple[Any, Any]], header: tuple[str, str] = ("text", "label")) -> Path:
    """`pairs` in the format that the path's ending names."""
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            rows.writerows([header, *pairs])
    elif path.suffix == ".jsonl":
        path.write_text(
            "".join(json.dumps(dict(zip(header, pair, strict=True))) + "\n" for pair in pairs),
            encoding="utf-8",
        )
    else:
        table = pyarrow.table(
            {name: list(values) for name, values in zip(header, zip(*pairs, strict=True), strict=True)}
        )
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(table, path)
        else:
            write_arrow(path, table, pyarrow.ipc.new_file)
    return path


def write_arrow(path: Path, table: pyarrow.Table, kind: Callable[..., Any]) -> Path:
    """`table` in one of Arrow's two formats, the file's or the stream's, in one record batch."""
    with kind(path, table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes bytes under a name and gives the path."""

    def make(content: bytes, name: str = "train.csv") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return make


def labels_of(path: Path, **columns: Any) -> list[str]:
    """The label of each example of a single-label file, "" if it has none."""
    examples = read_examples(path, **columns)
    assert not examples.multi_label
    return ["".join(names) for names in examples.labels]


def refused(path: Path, words: str, **columns: Any) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_examples(path, **columns)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_reads_back(tmp_path: Path, suffix: str) -> None:
    examples = read_examples(write(tmp_path / f"train{suffix}", PAIRS))
    assert list(zip(examples.texts, map("".join, examples.labels), strict=True)) == PAIRS
    assert examples.rows == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_may_have_other_names_and_labels_may_be_left_out(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"train{suffix}", PAIRS[:2], header=("utterance", "intent"))
    assert labels_of(path, text="utterance", label="intent") == ["track", "refund"]
    found = read_examples(path, "utterance", None)
    assert replace(found, lines=[]) == Examples.of([text for text, _ in PAIRS[:2]])


def test_endings_are_read_in_capitals_too(tmp_path: Path, file: Callable[..., Path]) -> None:
    assert labels_of(file(b"text\tlabel\nx\ty\n", "train.TSV")) == ["y"]
    assert find_part_files(tmp_path) == {"train": tmp_path / "train.TSV"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, LABEL), min_size=1, max_size=6))
def test_any_text_reads_back_from_csv(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    examples = read_examples(write(tmp_path / "train.csv", pairs))
    assert examples.texts == [text for text, _ in pairs]
    assert examples.labels == [() if is_blank(label) else (label.strip(),) for _, label in pairs]


@pytest.mark.parametrize(
    ("text", "nothing"),
    [("", True), (" \t\u00a0", True), ("\u200b\ufeff", True), ("\u200ba", False), ("0", False)],
)
def test_what_cannot_be_seen_is_blank(text: str, nothing: bool) -> None:
    assert is_blank(text) == nothing


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_without_a_label_are_kept_as_such_or_left_out(tmp_path: Path, suffix: str) -> None:
    path = write(
        tmp_path / f"train{suffix}", [("a", "x"), ("b", ""), ("c", "\u200b"), ("d", " "), ("e", "y")]
    )
    whole = read_examples(path)
    assert whole.labels == [("x",), (), (), (), ("y",)]
    assert drop_unlabelled(whole, Data(), path) == (whole, 0)
    kept, dropped = drop_unlabelled(whole, Data(unlabelled="drop"), path)
    assert (kept.texts, kept.labels, kept.rows, dropped) == (["a", "e"], [("x",), ("y",)], [1, 5], 3)
    several = read_examples(path, separator="|")
    assert several.labels == whole.labels
    assert drop_unlabelled(several, Data(unlabelled="drop"), path) == (several, 0)


def test_a_byte_order_mark_and_windows_line_ends_are_read(file: Callable[..., Path]) -> None:
    assert read_examples(file(b"\xef\xbb\xbftext,label\r\nwhere is it,track\r\nlate,track\r\n")).texts == [
        "where is it",
        "late",
    ]
    assert labels_of(file(b'\xef\xbb\xbf{"text": "late", "label": "track"}\r\n', "train.jsonl")) == ["track"]


def test_quoted_texts_keep_their_line_ends_and_blank_lines_are_no_rows(file: Callable[..., Path]) -> None:
    examples = read_examples(file(b'text,label\n"one\r\n\r\ntwo",a\n\n\n"say ""hi""",b\n'))
    lines = [2, 7]
    assert examples == replace(Examples.of(["one\r\n\r\ntwo", 'say "hi"'], ["a", "b"]), lines=lines)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_very_long_text_is_read(tmp_path: Path, suffix: str) -> None:
    text = "wörd " * 40_000
    assert read_examples(write(tmp_path / f"train{suffix}", [(text, "a")])).texts == [text]


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_numbers_are_names(tmp_path: Path, suffix: str) -> None:
    assert labels_of(write(tmp_path / f"train{suffix}", [("x", 3), ("y", 10)])) == ["3", "10"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("label", [1.0, 0.25, "1.0", "0.5", "1e-3", "1E5", " -.5 "])
def test_fractions_of_which_most_occur_once_are_no_labels(tmp_path: Path, suffix: str, label: object) -> None:
    path = write(tmp_path / f"train{suffix}", [("x", "a"), ("y", label)])
    place = {".jsonl": "line 2", ".csv": "line 3", ".tsv": "line 3"}.get(suffix, "row 2")
    refused(
        path,
        f"{place}: column 'label' has the fraction '{str(label).strip()}'; it has 2 different values",
    )


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_fractions_that_repeat_are_names_as_written(tmp_path: Path, suffix: str) -> None:
    labels = ["8471.30", "1.0", "1e3"] * 3
    path = write(tmp_path / f"train{suffix}", [(f"text {i}", label) for i, label in enumerate(labels)])
    assert labels_of(path) == labels


@pytest.mark.parametrize("suffix", FORMATS)
def test_names_that_are_almost_numbers_are_labels(tmp_path: Path, suffix: str) -> None:
    labels = ["v1.0", "1.2.3", "a b", "-3", "1e", "nan", "inf", "1e999", "true"]
    assert labels_of(write(tmp_path / f"train{suffix}", [("x", label) for label in labels])) == labels


def parquet(path: Path, labels: list[Any], kind: pyarrow.DataType) -> Path:
    pyarrow.parquet.write_table(
        pyarrow.table({"text": ["x"] * len(labels), "label": pyarrow.array(labels, kind)}), path
    )
    return path


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        (["1.0", "1e-3", None], pyarrow.string(), ["1.0", "1e-3", ""]),
        ([3, None], pyarrow.int8(), ["3", ""]),
        ([True, False], pyarrow.bool_(), ["True", "False"]),
        ([3.0, None, float("nan"), -0.0], pyarrow.float64(), ["3", "", "", "0"]),
        ([3.0], pyarrow.float16(), ["3"]),
        ([Decimal("3.00"), None], pyarrow.decimal128(5, 2), ["3", ""]),
        (["0.5", "b"], pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), ["0.5", "b"]),
        ([None], pyarrow.null(), [""]),
    ],
)
def test_parquet_labels_go_by_their_type(
    tmp_path: Path, labels: list[Any], kind: pyarrow.DataType, names: list[str]
) -> None:
    assert labels_of(parquet(tmp_path / "train.parquet", labels, kind)) == names


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        ([1.0, 0.25], pyarrow.float64(), "row 2: column 'label' has the fraction '0.25'; "),
        (
            [Decimal("1.00"), Decimal("1.50")],
            pyarrow.decimal128(5, 2),
            "row 2: column 'label' has the fraction '1.50'; ",
        ),
        (
            [[["a"]]],
            pyarrow.list_(pyarrow.list_(pyarrow.string())),
            "column 'label' has type list<element: list<element: string>>; give names, whole numbers, "
            "or lists",
        ),
        (
            [{"a": 1}],
            pyarrow.struct({"a": pyarrow.int64()}),
            "column 'label' has type struct<a: int64>; give names, whole numbers, or lists of them",
        ),
        ([b"a"], pyarrow.binary(), "column 'label' has type binary; give names"),
    ],
)
def test_parquet_labels_of_other_types_are_refused(
    tmp_path: Path, labels: list[Any], kind: pyarrow.DataType, words: str
) -> None:
    refused(parquet(tmp_path / "train.parquet", labels, kind), words)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_column_that_differs_by_case_or_spaces_is_offered(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"train{suffix}", PAIRS[:2], header=("Text ", " Label"))
    remedy = 'write --set "data.text_column=Text " "data.label_column= Label"'
    refused(path, f"has no columns 'text' and 'label'; it has 'Text ', ' Label': {remedy}")
    refused(path, 'write --set "data.label_column= Label"', text="Text ")
    assert labels_of(path, text="Text ", label=" Label") == ["track", "refund"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".arrow"])
def test_several_columns_with_texts_are_offered_as_a_list(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"id": "T1", "subject": "Parcel not here", "body": "Where is my parcel now?", "queue": "track"},
        {"id": "T2", "subject": "Money back please", "body": "I want my money back", "queue": "refund"},
    ]
    path = write_table(tmp_path / f"train{suffix}", rows)
    offer = 'or for texts in several columns, which are read as one: "data.text_column=[subject, body]"'
    refused(path, f"--set data.text_column=COLUMN data.label_column=COLUMN, {offer}; if this is a row")
    refused(path, f"name the right one with --set data.text_column=COLUMN, {offer}", label="queue")
    with pytest.raises(InputError, match=r"label_column=COLUMN$"):
        read_examples(path, "body")
    path = write_table(tmp_path / f"other{suffix}", [row | {"subject": "news"} for row in rows])
    with pytest.raises(InputError, match=r"text_column=COLUMN$"):
        read_examples(path, label="queue")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_list_of_columns_is_offered_as_the_file_has_them(tmp_path: Path, suffix: str) -> None:
    rows = [{"Subject": "Parcel", "body": "Where is it now?", "Category": "track"}] * 2
    path = write_table(tmp_path / f"train{suffix}", rows)
    options = '--set "data.text_column=[Subject, body]"'
    with pytest.raises(InputError) as raised:
        read_examples(path, ("subject", "body"), "category")
    assert str(raised.value).endswith(
        "has no columns 'subject' and 'category'; it has 'Subject', 'body', 'Category': write "
        f'{options} "data.label_column=Category"'
    )
    with pytest.raises(InputError, match=r"has no column 'subject'; .*: write --set .*\[Subject, body\]\"$"):
        read_examples(path, ("subject", "body"), "queue")
    with pytest.raises(InputError, match="name the right one with"):
        read_examples(path, ("subject", "message"), "Category")


@pytest.mark.parametrize(("separator", "name"), [(",", "commas"), (";", "semicolons")])
def test_a_tsv_file_with_another_separator_is_called_that(tmp_path: Path, separator: str, name: str) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(f"text{separator}label\nwhere{separator}track\n", encoding="utf-8")
    refused(path, f"has one column, 'text{separator}label': it is separated by {name}; rename it, with .csv")


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows of texts to a table in the format of its ending."""
    table = pyarrow.Table.from_pylist(rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".arrow":
        with pyarrow.ipc.new_file(str(path), table.schema) as file:
            file.write_table(table)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return path


def test_a_column_is_offered_on_one_line_only(file: Callable[..., Path]) -> None:
    refused(file(b'"text\n",label\nx,y\n'), "name the right one with --set data.text_column=COLUMN")


def test_a_column_that_stands_twice_is_refused_where_it_is_wanted(
    tmp_path: Path, file: Callable[..., Path]
) -> None:
    refused(file(b"text,label,label\nx,y,z\n"), "has 2 columns 'label'; rename all but one")
    assert labels_of(file(b"text,label,note,note\nx,y,,\n")) == ["y"]
    table = pyarrow.Table.from_arrays([pyarrow.array(["x"])] * 3, names=["text", "text", "label"])
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    refused(tmp_path / "train.parquet", "has 2 columns 'text'; rename all but one")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_absent_values_are_empty(tmp_path: Path, suffix: str) -> None:
    examples = read_examples(write(tmp_path / f"train{suffix}", [(None, "a"), ("x", None)]))
    assert (examples.texts, examples.labels) == (["", "x"], [("a",), ()])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "train.csv is empty; it needs a header"),
        (b"text,label\n", "train.csv has a header and no rows"),
        (b"text,label\n\n\n", "train.csv has a header and no rows"),
        (
            b"text\nx\n",
            "has no column 'label'; it has 'text': name the right one with --set data.label_column=COLUMN",
        ),
        (
            b"utterance,label\nx,y\n",
            "has no column 'text'; it has 'utterance', 'label': "
            "name the right one with --set data.text_column=COLUMN",
        ),
        (
            b"title;answer\nx;y\n",
            "has no columns 'text' and 'label'; it has 'title', 'answer': name",
        ),
        (
            b"where is it,track\nx,y\n",
            "--set data.text_column=COLUMN data.label_column=COLUMN; if this is a row and no header, write",
        ),
        (
            b"text,label\nx,y\n\xfcber,y\n",
            "line 3: byte 0xfc at column 1 is not UTF-8; it may be cp1252: read it so with --set "
            "data.encoding=cp1252, or save the file as UTF-8 (iconv -f cp1252 -t utf-8)",
        ),
        (b"text,label\na\0b,y\n", "line 2: a NUL byte at column 2; remove it"),
        (
            b'text,label\nx,y\n"never closed,y\nz,y\n',
            "row 2 (from line 3): the quote in line 3 is never closed; close it, or double",
        ),
        (b'text,label\n\n"x"y,z\n', "row 1 (from line 3): "),
        (
            b"text,label\nx,y\n\nhello, world,y\n",
            "row 2 (line 4) has 3 columns, the header 2; put quotes around",
        ),
        (b"text,label\nx\n", "row 1 (line 2) has 1 columns, the header 2"),
        (b'text,label\n"two\nlines",y\nx\n', "row 2 (line 4) has 1 columns"),
        (
            b"text,label\rx,y\r",
            "row 1 (from line 1): a carriage return without a line feed; end lines with LF or CRLF",
        ),
        (b'"text,label\nx,y\n', "row 1 (from line 1): the quote in line 1 is never closed"),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_place(
    file: Callable[..., Path], content: bytes, words: str
) -> None:
    refused(file(content), words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "train.jsonl is empty"),
        (b"\n \n", "has a header and no rows"),
        (b'{"text": "x", "label": "y"}\n\n{"text": "x"', "row 2 (line 3): not JSON ("),
        (b'"text"\n', "row 1 (line 1): 'text' is not an object; give one per line, with keys text, label"),
        (b"[1]\n", "row 1 (line 1): '[1]' is not an object; give one per line"),
        (
            b'{"text": "a", "label": "x", "text": "b"}\n',
            "row 1 (line 1): the object has the key 'text' 2 times; keep one of them",
        ),
        (b'{"text": "a", "label": "x", "more": {"a": 1, "a": 2}}\n', "the key 'a' 2 times"),
        (b'[{"text": "x", "label": "y"}]\n', "is an array and not JSON Lines; write one object per line"),
        (b'[\n{"text": "x", "label": "y"}\n]\n', "jq -c '.[]' FILE"),
        (b'{\n"text": "x", "label": "y"\n}\n', "is an object of several lines and not JSON Lines"),
        (b'{"text": 5.5, "label": "y"}\n', "row 1 (line 1): 'text' is '5.5'; give a text"),
        (
            b'\n{"text": "x", "label": null}\n{"text": "x", "label": "y"}\n{"text": "z", "label": ["y"]}\n',
            "the label in line 4 is a list, and that in line 3 is not",
        ),
        (b'{"text": "x"}\n', "has no column 'label'; it has 'text'"),
        (b'{"text": 5, "label": "y"}\n', "row 1 (line 1): 'text' is '5'; give a text"),
        (b'{"text": ["x"], "label": "y"}\n', "row 1 (line 1): 'text' is \"['x']\"; give a text"),
        (
            b'{"text": "x", "label": [["y"]]}\n',
            "row 1 (line 1): 'label' is \"[['y']]\"; give a label, or a list of",
        ),
        (b'{"text": "x", "label": 0.5}\n', "line 1: column 'label' has the fraction '0.5'"),
        (
            b'{"text": "x", "label": "y"}\n{"text": "a \\ud800 b", "label": "y"}\n',
            r"row 2 (line 2): 'text' has '\ud800', half of a character",
        ),
        (
            b'{"text": "x", "label": "\\udfff"}\n',
            r"row 1 (line 1): 'label' has '\udfff', half of a character; remove it",
        ),
        (b'{"text": "\xe4", "label": "y"}\n', "line 1: byte 0xe4 at column 11 is not UTF-8"),
        (b'{"text": "x", "label": ' + b"9" * 5000 + b"}\n", "row 1 (line 1): JSON that cannot be read ("),
        (b"[" * 100_000 + b"\n", "row 1 (line 1): JSON that cannot be read ("),
    ],
)
def test_a_bad_jsonl_file_is_refused_with_its_place(
    file: Callable[..., Path], content: bytes, words: str
) -> None:
    refused(file(content, "train.jsonl"), words)


def test_a_pair_of_surrogates_is_one_character(file: Callable[..., Path]) -> None:
    assert read_examples(file(b'{"text": "\\ud83d\\ude00", "label": "y"}\n', "train.jsonl")).texts == [
        "\N{GRINNING FACE}"
    ]


def test_a_parquet_column_of_numbers_is_no_text(tmp_path: Path) -> None:
    refused(
        write(tmp_path / "train.parquet", [(1, "a"), (2, "b")]), "column 'text' has type int64; give texts"
    )
    refused(
        write(tmp_path / "train.parquet", [("x", "a")], ("t", "label")),
        "has no column 'text'; it has 't', 'label'",
    )


def test_parquet_texts_may_be_of_every_text_type(tmp_path: Path) -> None:
    for kind in (
        pyarrow.string(),
        pyarrow.large_string(),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
    ):
        columns = {
            name: pyarrow.array(["x", None], pyarrow.string()).cast(kind) for name in ("text", "label")
        }
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
    refused(
        file(damaged(content)[how], "train.parquet"), "is no Parquet file, or a damaged one, after row 0 ("
    )


@pytest.mark.parametrize("kind", [pyarrow.ipc.new_file, pyarrow.ipc.new_stream])
def test_both_formats_of_arrow_are_read_in_parts(tmp_path: Path, kind: Callable[..., Any]) -> None:
    texts = [f"text {i}" for i in range(10_001)]
    table = pyarrow.table({"label": [i % 3 for i in range(10_001)], "text": texts})
    found = read_examples(write_arrow(tmp_path / "train.arrow", table, kind))
    assert found.texts == texts
    assert found.labels[:4] == [("0",), ("1",), ("2",), ("0",)]
    assert found.rows == list(range(1, 10_002))


@pytest.mark.parametrize("kind", [pyarrow.ipc.new_file, pyarrow.ipc.new_stream])
@pytest.mark.parametrize("how", ["text", "cut", "data", "offsets"])
def test_a_damaged_arrow_file_is_refused(tmp_path: Path, kind: Callable[..., Any], how: str) -> None:
    table = pyarrow.table({"text": [f"text {i}" for i in range(200)], "label": ["a"] * 200})
    path = write_arrow(tmp_path / "train.arrow", table, kind)
    content = path.read_bytes()
    offsets = content.index((6).to_bytes(4, "little") + (12).to_bytes(4, "little"))
    broken = damaged(content) | {"offsets": content[:offsets] + b"\x7f" * 8 + content[offsets + 8 :]}
    path.write_bytes(broken[how])
    refused(path, "is no Arrow file, or a damaged one, after row 0 (")


def test_parquet_texts_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    columns = {
        name: pyarrow.array([b"\xfcber"], pyarrow.binary()).cast(pyarrow.string(), safe=False)
        for name in ("text", "label")
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    refused(tmp_path / "train.parquet", "after row 0 ('utf-8' codec can't decode byte 0xfc")


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    columns = {name: pyarrow.array([], pyarrow.string()) for name in ("text", "label")}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    refused(tmp_path / "train.parquet", "has a header and no rows")


def test_a_file_that_is_missing_or_of_another_format_is_refused(
    tmp_path: Path, file: Callable[..., Path]
) -> None:
    refused(tmp_path / "train.csv", "does not exist; give a .csv, .tsv, .jsonl, .parquet, .arrow file")
    refused(file(b"x", "train.xlsx"), "has the ending '.xlsx'; allowed: .csv, .tsv, .jsonl, .parquet, .arrow")


def test_the_parts_of_a_folder_are_found(tmp_path: Path, file: Callable[..., Path]) -> None:
    for name in (
        "train.csv",
        "test.jsonl",
        "oos.tsv",
        "validation.parquet",
        "notes.txt",
        "train.md",
        "other.csv",
    ):
        file(b"x", name)
    assert {part: path.name for part, path in find_part_files(tmp_path).items()} == {
        "train": "train.csv",
        "test": "test.jsonl",
        "oos": "oos.tsv",
        "validation": "validation.parquet",
    }


def test_a_folder_must_hold_one_training_file(tmp_path: Path, file: Callable[..., Path]) -> None:
    file(b"x", "test.csv")
    with pytest.raises(InputError, match=r"has no training file; put one of train\.csv, train\.tsv"):
        find_part_files(tmp_path)
    file(b"x", "train.csv")
    file(b"x", "train.jsonl")
    with pytest.raises(InputError, match=r"has both train\.csv and train\.jsonl; keep one"):
        find_part_files(tmp_path)
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        find_part_files(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", FORMATS)
def test_labels_are_separated_in_the_reader(tmp_path: Path, suffix: str) -> None:
    pairs = [("one", "b| a |b|"), ("two", ""), ("three", "3|a"), ("four", " | ")]
    examples = read_examples(write(tmp_path / f"train{suffix}", pairs), separator="|")
    assert (examples.labels, examples.multi_label) == ([("a", "b"), (), ("3", "a"), ()], True)
    examples.save(tmp_path / "saved.jsonl")
    assert Examples.load(tmp_path / "saved.jsonl") == examples
    assert labels_of(write(tmp_path / f"train{suffix}", pairs))[0] == "b| a |b|"


def test_a_fraction_among_several_labels_is_refused(file: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"line 3: column 'label' has the fraction '0\.5'"):
        read_examples(file(b"text,label\nx,a|3\ny,a|0.5\n"), separator="|")


LISTS = [("one", ["b", " a", "b"]), ("two", []), ("three", ["x|y"])]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".arrow"])
@pytest.mark.parametrize("separator", [None, "|"])
def test_lists_of_labels_need_no_separator(tmp_path: Path, suffix: str, separator: str | None) -> None:
    examples = read_examples(write(tmp_path / f"train{suffix}", LISTS), separator=separator)
    assert (examples.labels, examples.multi_label) == ([("a", "b"), (), ("x|y",)], True)


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.large_list(pyarrow.string()),
        pyarrow.list_(pyarrow.int64()),
        pyarrow.list_(pyarrow.dictionary(pyarrow.int8(), pyarrow.string())),
    ],
)
def test_parquet_lists_may_be_of_every_label_type(tmp_path: Path, kind: pyarrow.DataType) -> None:
    values: list[Any] = [[3, 1], None] if pyarrow.types.is_integer(kind.value_type) else [["3", "1"], None]
    examples = read_examples(parquet(tmp_path / "train.parquet", values, kind))
    assert (examples.labels, examples.multi_label) == ([("1", "3"), ()], True)


def test_one_multi_label_part_makes_all_labelled_parts_multi_label(tmp_path: Path) -> None:
    files = {
        "train": write(tmp_path / "train.jsonl", LISTS),
        "test": write(tmp_path / "test.csv", [("four", "a")]),
        "oos": write(tmp_path / "oos.csv", [("five", "")]),
    }
    parts = read_raw(files, Data()).checked()
    assert {name: part.multi_label for name, part in parts.items()} == {
        "train": True,
        "test": True,
        "oos": False,
    }
    assert (parts["test"].labels, parts["oos"].labels) == ([("a",)], [()])


@pytest.mark.parametrize("ending", [".csv.gz", ".tsv.gz", ".jsonl.gz", ".ndjson", ".ndjson.gz"])
def test_compressed_text_files_and_ndjson_are_read(tmp_path: Path, ending: str) -> None:
    kind = ENDINGS[ending]
    content = write(tmp_path / f"plain{kind}", PAIRS).read_bytes()
    path = tmp_path / f"train{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    assert read_examples(path) == read_examples(tmp_path / f"plain{kind}")
    assert find_part_files(tmp_path) == {"train": path}


@pytest.mark.parametrize(
    "content",
    [b"text,label\nx,y\n", gzip.compress(b"text,label\nx,y\n", mtime=0)[:-9]],
    ids=["no gzip", "cut off"],
)
def test_a_damaged_gzip_file_is_refused(file: Callable[..., Path], content: bytes) -> None:
    refused(file(content, "train.csv.gz"), "is not a gzip file, or damaged (")


def test_raw_data_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "train": write(tmp_path / "train.csv", PAIRS),
        "oos": write(tmp_path / "oos.csv", [("five", "")]),
    }
    parsed = tmp_path / "parsed"
    first = read_raw_once(files, Data(), parsed)
    with monkeypatch.context() as patch:
        patch.setattr("tokensieve.data.raw_data.read_raw", lambda *_: pytest.fail("parsed again"))
        assert read_raw_once(files, Data(), parsed) == first
        moved = {part: path.rename(tmp_path / f"moved-{path.name}") for part, path in files.items()}
        assert read_raw_once(moved, Data(), parsed) == first
    assert read_raw_once(moved, Data(label_separator="a"), parsed).parts["train"].multi_label
    write(moved["train"], PAIRS[:2])
    assert len(read_raw_once(moved, Data(), parsed).parts["train"]) == 2


def test_a_file_that_cannot_be_read_is_an_error_of_its_part_and_nothing_is_kept(tmp_path: Path) -> None:
    files = {"train": write(tmp_path / "train.csv", PAIRS), "test": tmp_path / "test.csv"}
    found = read_raw_once(files, Data(), tmp_path / "parsed")
    assert (list(found.parts), list(found.errors)) == (["train"], ["test"])
    with pytest.raises(InputError, match=r"test\.csv does not exist"):
        found.checked()
    assert not (tmp_path / "parsed").exists()


@pytest.mark.parametrize(
    "number", ["8471.30", "1e400", "12345678901234567890.5", "-0.0", "12345678901234567890"]
)
def test_numbers_as_labels_in_json_stay_as_they_are_written(tmp_path: Path, number: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(f'{{"text": "x", "label": {number}}}\n' * 4)
    assert labels_of(path) == [number] * 4
    path.write_text(f'{{"text": "x", "label": [{number}, "a"]}}\n' * 4)
    assert read_examples(path).labels == [tuple(sorted([number, "a"]))] * 4
