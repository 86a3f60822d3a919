"""Encodings: byte order marks win, and a file is not read in an encoding that it is not in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tokensieve.data.test_dialects import pairs_of
from tokensieve.data.table_readers import read_chunks
from tokensieve.errors import InputError

ROWS = [("Größe", "a"), ("Straße", "b")]
TABLE = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
BOM = "\ufeff"


@pytest.mark.parametrize("written", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("given", [None, "cp1252", "utf-8", "utf-16-le"])
@pytest.mark.parametrize("marks", [1, 2])
def test_a_byte_order_mark_wins_over_the_setting_and_is_no_character(
    tmp_path: Path, written: str, given: str | None, marks: int
) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes((BOM * marks + TABLE).encode(written))
    assert pairs_of(path, given) == ROWS


def test_a_setting_left_from_an_earlier_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    for text, codec in ((TABLE, "cp1252"), ("text,label\nверните мои деньги,a\n" * 9, "gb18030")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=rf"is UTF-8, and data\.encoding={codec} would .*=auto"):
            pairs_of(path, codec)
    path.write_bytes(b"text,label\nplain,a\n")
    assert pairs_of(path, "cp1252") == [("plain", "a")]


@pytest.mark.parametrize("codec", ["cp1252", "latin-1", "cp1251", "gb18030", "shift_jis", "utf-16-le"])
def test_a_file_in_the_encoding_of_the_setting_is_read(tmp_path: Path, codec: str) -> None:
    text = {"cp1251": "«СССР»", "gb18030": "联通", "shift_jis": "返品", "cp1252": "NESTLÉ™ CAFÉ®"}.get(
        codec, "ß"
    )
    path = tmp_path / "train.csv"
    path.write_bytes(f"text,label\n{text},a\n".encode(codec))
    assert pairs_of(path, codec) == [(text, "a")]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("given", [None, "cp1252"])
def test_utf_16_without_a_mark_is_named(tmp_path: Path, codec: str, given: str | None) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(TABLE.encode(codec))
    with pytest.raises(InputError, match=rf"looks like UTF-16 .*--set data\.encoding={codec}"):
        pairs_of(path, given)
    assert pairs_of(path, codec) == ROWS


@pytest.mark.parametrize("given", [None, "cp1252"])
@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"PK\x03\x04\x8f", "is an Excel file or a zip archive; save it as CSV"),
        (b"\x1f\x8b\x08", r"is compressed by gzip; name it train\.csv\.gz"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path: Path, start: bytes, words: str, given: str | None) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(start + b"\n1,2\n")
    with pytest.raises(InputError, match=words):
        pairs_of(path, given)


def test_the_remedy_for_a_file_of_texts_names_no_setting(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_bytes(TABLE.encode("cp1252"))
    with pytest.raises(InputError, match="may be cp1252: save the file as UTF-8") as raised:
        list(read_chunks(path, "text"))
    assert "--set" not in str(raised.value)
