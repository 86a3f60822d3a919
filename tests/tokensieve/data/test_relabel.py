"""Relabelled files are read back as the same rows with the new labels, in every format."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokensieve.data.raw_data import read_examples
from tokensieve.data.relabel import relabelled_json_lines, write_relabelled
from tokensieve.errors import InputError
from tokensieve.settings import Data

ROWS = [
    {"id": 1, "text": "one", "label": "a"},
    {"id": 2, "text": 'two "quoted",\nlines', "label": "b"},
    {"id": 3, "text": "three", "label": "b"},
    {"id": 4, "text": " four\t= ", "label": "a"},
]
ANSWERS: dict[int, tuple[str, ...] | None] = {2: ("a",), 3: None, 4: ("new, label",)}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(rows)
    if ".parquet" in path.name:
        pq.write_table(table, path)
    elif ".arrow" in path.name:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    else:
        if "json" in path.name:
            text = "".join(json.dumps(row) + "\n\n" for row in rows)
        else:
            separator = "\t" if ".tsv" in path.name else ","
            cells = [[str(value).replace('"', '""') for value in row.values()] for row in rows]
            text = "".join(
                separator.join(f'"{cell}"' for cell in row) + "\r\n" for row in [list(rows[0]), *cells]
            )
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.ndjson.gz", "a.parquet", "a.arrow"]
)
def test_labels_change_rows_go_and_all_else_stays(tmp_path: Path, name: str) -> None:
    source, target = write(tmp_path / name, ROWS), tmp_path / f"new-{name}"
    write_relabelled(source, target, ANSWERS, Data())
    found = read_examples(target)
    assert found.labels == [("a",), ("a",), ("new, label",)]
    assert found.texts == [ROWS[row]["text"] for row in (0, 1, 3)]
    assert read_examples(target, label="id").labels == [("1",), ("2",), ("4",)]


def test_several_labels_keep_their_form(tmp_path: Path) -> None:
    listed = [{"text": "one", "label": ["a", "b"]}, {"text": "two", "label": []}]
    for name in ("a.jsonl", "a.parquet"):
        target = tmp_path / f"new-{name}"
        write_relabelled(write(tmp_path / name, listed), target, {1: ("c",), 2: ("a", "c")}, Data())
        assert read_examples(target).labels == [("c",), ("a", "c")]
    joined = write(tmp_path / "a.csv", [{"text": "one", "label": "a;b"}])
    write_relabelled(joined, tmp_path / "new.csv", {1: ("b", "c")}, Data(label_separator=";"))
    assert (tmp_path / "new.csv").read_text() == "text,label\none,b;c\n"


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    rows = [{"text": "one", "label": 1}, {"text": "two", "label": 2}]
    source = write(tmp_path / "a.jsonl", rows)
    write_relabelled(source, tmp_path / "new.jsonl", {1: ("2",), 2: ("other",)}, Data())
    assert (tmp_path / "new.jsonl").read_text() == source.read_text().replace(": 2}", ': "other"}').replace(
        ": 1}", ": 2}"
    )
    source = write(tmp_path / "a.parquet", rows)
    write_relabelled(source, tmp_path / "new.parquet", {1: ("2",)}, Data())
    assert pq.read_table(tmp_path / "new.parquet").column("label").to_pylist() == [2, 2]
    with pytest.raises(InputError, match="has type int64, which cannot contain label 'other'"):
        write_relabelled(source, tmp_path / "new.parquet", {1: ("other",)}, Data())


def test_a_category_column_stays_one(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", "two"], "label": pa.array(["a", "b"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    write_relabelled(tmp_path / "a.parquet", tmp_path / "new.parquet", {1: ("c",)}, Data())
    found = pq.read_table(tmp_path / "new.parquet").column("label")
    assert found.to_pylist() == ["c", "b"]
    assert pa.types.is_dictionary(found.type)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_file_keeps_the_encoding_that_the_settings_name(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("text;label\nTür;a\nweg;b\n".encode(encoding))
    columns = Data(encoding=encoding)
    write_relabelled(tmp_path / "a.csv", tmp_path / "new.csv", {2: ("größe",)}, columns)
    found = read_examples(tmp_path / "new.csv", encoding=columns.codec)
    assert (found.texts, found.labels) == (["Tür", "weg"], [("a",), ("größe",)])


def test_a_label_that_the_encoding_lacks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\none,a\n")
    with pytest.raises(InputError, match="has no 'Ł'"):
        write_relabelled(tmp_path / "a.csv", tmp_path / "new.csv", {1: ("Łódź",)}, Data(encoding="cp1252"))


def test_a_file_with_a_byte_order_mark_keeps_its_encoding(tmp_path: Path) -> None:
    source, target = tmp_path / "train.csv", tmp_path / "new.csv"
    source.write_bytes("text,label\nверните,a\n".encode("utf-8-sig"))
    write_relabelled(source, target, {1: ("b",)}, Data(encoding="cp1252"))
    assert target.read_bytes() == "text,label\nверните,b\n".encode("utf-8-sig")


BLANKS = st.text(" \t", max_size=2)
NUMBERS = st.sampled_from(["0", "-0", "1.10", "-2.50e+3", "1e400", "0.1000000000000000055", "1" + "0" * 30])
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
LITERALS = st.one_of(
    NUMBERS,
    st.sampled_from(["true", "null", '[1.0, {"label": 2.0}]', '{"text" : "x","label":1.50}', '"\\u00e9\\/"']),
    st.builds(json.dumps, STRINGS, ensure_ascii=st.booleans()),
)
# The label before, the labels after, and how these are written.
CHANGES = st.sampled_from(
    [
        ('"a"', ("b",), '"b"'),
        ('"\\u0061"', ('é"',), '"é\\""'),
        ("1.10", ("1.20",), "1.20"),
        ("7", ("007",), '"007"'),
        ("7", ("-0",), '"-0"'),
        ("1e3", ("8",), "8"),
        ("true", ("1",), '"1"'),
        ("null", ("a",), '"a"'),
        ("5", ("9" * 5000,), f'"{"9" * 5000}"'),
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_all_but_the_label_of_a_json_row_stays_as_it_is_written(tmp_path: Path, data: st.DataObject) -> None:
    before, labels, after = data.draw(CHANGES)
    keys = data.draw(
        st.lists(STRINGS.filter(lambda key: key not in ("text", "label")), unique=True, max_size=3)
    )
    pairs = [(json.dumps(key), data.draw(LITERALS)) for key in keys]
    pairs += [('"text"', '"t"'), (data.draw(st.sampled_from(['"label"', '"l\\u0061bel"'])), "LABEL")]
    pairs = data.draw(st.permutations(pairs))
    blank = partial(data.draw, BLANKS)
    inner = ",".join(f"{blank()}{key}{blank()}:{blank()}{value}{blank()}" for key, value in pairs)
    line = f"{blank()}{{{inner}}}{blank()}{data.draw(st.sampled_from(['', chr(13)]))}\n"
    other = '{"text": "u", "label": "c", "at": 1.10}\n \n' * 3  # many with one label: no column of numbers
    source = tmp_path / "train.jsonl"
    source.write_bytes((other + line.replace("LABEL", before) + other).encode())
    written = "".join(relabelled_json_lines(source, {4: labels}, Data()))
    assert written == other + line.replace("LABEL", after) + other
    source.write_bytes(written.encode())
    assert read_examples(source).labels[3] == labels


@pytest.mark.parametrize("first", ['["a", "b"]', "[]"])
def test_a_missing_label_becomes_a_list_among_lists(tmp_path: Path, first: str) -> None:
    source = tmp_path / "a.jsonl"
    labels = ["null", '""', first, "[1, 2]"]
    source.write_text("".join(f'{{"text": "t", "label": {label}}}\n' for label in labels))
    answers = {1: ("a", "b"), 2: ("c",), 4: ("2", "3")}
    write_relabelled(source, tmp_path / "new.jsonl", answers, Data())
    found = [
        line[len('{"text": "t", "label": ') : -1]
        for line in (tmp_path / "new.jsonl").read_text().splitlines()
    ]
    assert found == ['["a", "b"]', '["c"]', first, "[2, 3]"]
