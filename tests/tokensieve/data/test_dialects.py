"""Files as programs write them: separators, quotes and encodings are recognized, or named."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokensieve.data.dialects import csv_dialect
from tokensieve.data.encodings import likely_encoding
from tokensieve.data.raw_data import find_part_files, read_examples
from tokensieve.data.table_readers import read_chunks
from tokensieve.errors import InputError
from tokensieve.settings import Data

PAIRS = [("où est-ce", "a"), ("5 € “now”", "b"), ("two\r\nlines, and a comma", "a")]
CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


def pairs_of(path: Path, encoding: str | None = None) -> list[tuple[str, str]]:
    found = read_examples(path, encoding=encoding)
    return [(text, *labels) for text, labels in zip(found.texts, found.labels, strict=True)]


def written(path: Path, pairs: Sequence[tuple[str, str]], encoding: str, separator: str, first: str) -> Path:
    output = io.StringIO()
    writer = csv.writer(output, delimiter=separator, lineterminator="\r\n")
    writer.writerows([("text", "label"), *pairs])
    path.write_bytes((first + output.getvalue()).encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_separators_and_byte_order_marks_are_recognized(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    path = written(tmp_path / "train.csv", PAIRS, encoding, separator, "")
    assert pairs_of(path) == PAIRS
    _, chunks = read_chunks(path, "text")
    assert [text for chunk in chunks for text in chunk.texts] == [text for text, _ in PAIRS]


@pytest.mark.parametrize("first", ["sep=;\r\n", "SEP=;\n"])
def test_the_line_in_which_excel_names_the_separator_is_no_row(tmp_path: Path, first: str) -> None:
    assert pairs_of(written(tmp_path / "train.csv", PAIRS, "utf-8", ";", first)) == PAIRS
    (tmp_path / "train.csv").write_text(f"{first}text;label\nx;a\ny;b;c\n")
    with pytest.raises(InputError, match=r"row 2 \(line 4\) has 3 columns, the header 2"):
        read_examples(tmp_path / "train.csv")


def test_a_comma_in_the_header_decides() -> None:
    assert csv_dialect(["text;x,label|y\n"]).separator == ","
    assert csv_dialect(["text\n", "one;two\n"]).separator == ","
    assert csv_dialect(['"text;x";label\n']).separator == ";"
    assert csv_dialect([]).separator == ","


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "iso8859_15", "utf-16-le", "shift_jis"])
def test_an_encoding_that_is_set_is_read(tmp_path: Path, encoding: str) -> None:
    pairs = [("返品したい" if encoding == "shift_jis" else "größe", "a")] * 2
    assert pairs_of(written(tmp_path / "train.csv", pairs, encoding, ",", ""), encoding) == pairs
    with pytest.raises(InputError, match=r"train\.csv (is not ascii|looks like UTF-16) .*--set data\.enc"):
        read_examples(tmp_path / "train.csv", encoding="ascii")


@pytest.mark.parametrize("text", ["für", "“fee” is 5€", "l’été – où?", "¿qué?"])
def test_windows_1252_is_named(tmp_path: Path, text: str) -> None:
    assert likely_encoding(text.encode("cp1252")) == "cp1252"
    path = written(tmp_path / "train.csv", [(text, "a")], "cp1252", ",", "")
    with pytest.raises(InputError, match=r"line 2: byte 0x.* it may be cp1252: .*data\.encoding=cp1252"):
        read_examples(path)
    assert pairs_of(path, "cp1252") == [(text, "a")]


def test_another_encoding_is_guessed() -> None:
    text = "返品の手続きを教えてください。注文した商品がまだ届きません。"
    assert likely_encoding(text.encode("shift_jis")) in ("cp932", "shift_jis", "shift_jis_2004")


def test_an_unknown_encoding_is_an_error() -> None:
    with pytest.raises(InputError, match=r"data\.encoding is 'utf8mb4'; allowed: auto, or an encoding"):
        Data(encoding="utf8mb4")
    assert (Data().codec, Data(encoding="cp1252").codec) == (None, "cp1252")


def test_quotes_in_a_tsv_file_are_characters_if_lines_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    rows = ['"hello" said he\tgreet', '"quoted start\tgreet', "plain\tbye", 'more"\tbye']
    path.write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
    assert pairs_of(path) == [tuple(row.split("\t")) for row in rows]
    path.write_text("\n".join(["text\tlabel", *rows[1:]]) + "\n", encoding="utf-8")  # quotes that match
    assert pairs_of(path) == [tuple(row.split("\t")) for row in rows[1:]]


def test_quotes_in_a_long_tsv_file_that_is_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    long = [(f"line {i}\n\tand {'more ' * 200}", "ab"[i % 2]) for i in range(2000)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([("text", "label"), *long])
    assert pairs_of(path) == long


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELL, st.sampled_from("ab")), min_size=1, max_size=5))
def test_a_tsv_file_without_quoting_reads_back_but_for_cells_that_look_quoted(
    tmp_path: Path, pairs: list[tuple[str, str]]
) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *pairs]), "utf-8")
    for (read, _), (text, _) in zip(pairs_of(path), pairs, strict=True):
        assert read == text or text.startswith('"')


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train.csv", "train"),
        ("Training.csv", "train"),
        ("train-00000-of-00001.parquet", "train"),
        ("dev.csv", "validation"),
        ("valid.tsv", "validation"),
        ("val.jsonl", "validation"),
        ("Test.csv", "test"),
        ("test-00000-of-00001.jsonl.gz", "test"),
        ("out_of_scope.csv", "oos"),
        ("trainer.csv", None),
        ("train.csv.bak", None),
        ("notes.txt", None),
    ],
)
def test_files_of_parts_have_their_common_names(tmp_path: Path, name: str, part: str | None) -> None:
    (tmp_path / name).write_text("")
    if part != "train":
        (tmp_path / "train.csv").write_text("")
    found = find_part_files(tmp_path)
    assert (found[part].name == name) if part else list(found) == ["train"]


def test_two_names_of_one_part_and_a_file_in_pieces_are_errors(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "valid.csv"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=r"has both dev\.csv and valid\.csv; keep one"):
        find_part_files(tmp_path)
    (tmp_path / "valid.csv").rename(tmp_path / "test-00000-of-00002.csv")
    with pytest.raises(InputError, match=r"test-00000-of-00002\.csv is one of 2 pieces; join them"):
        find_part_files(tmp_path)
