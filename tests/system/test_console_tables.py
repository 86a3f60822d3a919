"""The console reads tables in Chromium as the command line does in Python, and refuses the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tokensieve.data.normalize import is_blank
from tokensieve.data.text_tables import read_lines, read_records
from tokensieve.errors import InputError

SOURCE = Path("tokensieve/server/console/csv.js").read_text(encoding="utf-8")
READ = """async ({source, bytes, name}) => {
    const module = await import("data:text/javascript;charset=utf-8," + encodeURIComponent(source));
    try {
        module.checkName(name);
        const {text, encoding} = module.decode(new Uint8Array(bytes));
        const {header, rows} = module.readTable(text.replace(/^\\ufeff/, ""), name);
        return {header, rows: rows.map((row) => [...row]), encoding, wrong: rows.map((row) => row.wrong)};
    } catch (error) { return {error: error.message}; }
}"""
BLANK = """async ({source, texts}) => {
    const module = await import("data:text/javascript;charset=utf-8," + encodeURIComponent(source));
    return texts.map(module.isBlank);
}"""
TABLES = {
    "plain.csv": b'text,label\nhello,a\n"two, ""words""",b\r\n',
    "sep.csv": b"sep=;\ntext;label\nhello;a\nnice, day;b\n",
    "pipe.csv": b"text|label\nhello, you|a\n",
    "semicolon.csv": b'"te;xt";label\r\nhello;a\r\n',
    "blank.csv": b'text\n\nhello\n \n""\n\r\n"a\nb"\n',
    "inner.csv": b'text,label\nscreen 7",a\n5" "x",b',
    "short.csv": b"text,label\nhello\nbye,b\n",
    "long.csv": b"text,label\nhello,a,b\n",
    "unclosed.csv": b'text,label\n"hello,a\nbye,b\n',
    "after.csv": b'text,label\n"hello" you,a\n',
    "mac.csv": b"text,label\rhello,a\r",
    "twice.csv": b"text,text\nhello,a\n",
    "quotes.tsv": b'text\tlabel\n"hello\ta\nmy order\tb\nscreen 7"\tc\n',
    "quoted.tsv": b'text\tlabel\n"hello\tyou"\ta\nbye\tb\n',
    "lines.tsv": b'text\tlabel\n"hello\nyou"\ta\nbye\tb\n',
    "unclosed.tsv": b'text\tlabel\n"hello\ta\nbye\tb\n',
}


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    return browser.new_page()


def read(page: Page, name: str, content: bytes) -> dict[str, Any]:
    """Return what the console reads: header, rows and encoding, or the error."""
    found: dict[str, Any] = page.evaluate(READ, {"source": SOURCE, "bytes": list(content), "name": name})
    return found


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_as_by_the_command_line(name: str, page: Page, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(TABLES[name])
    found = read(page, name, TABLES[name])
    try:
        header, *rows = [cells for _, cells in read_records(path, read_lines(path))]
        if len(set(header)) < len(header):
            raise InputError("check_columns refuses this")
    except InputError:
        assert "error" in found
    else:
        assert (found.get("header"), found.get("rows")) == (header, rows), found


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        (
            "a.csv.gz",
            b"\x1f\x8b\x08",
            "the ending .gz is not read here; allowed: .csv, .tsv, .jsonl, .ndjson, .t",
        ),
        ("a.json", b'["x"]', "the ending .json is not read here"),
        ("a.xlsx", b"PK\x03\x04", "the ending .xlsx is not read here"),
        ("a.parquet", b"PAR1", "the ending .parquet is not read here"),
        ("texts", b"x", "the name has no ending"),
        ("a.csv", b"\x1f\x8b\x08\x00\xff", "the content is not text"),
        ("a.txt", b"a\0b", "the content is not text"),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n', "line 2 is not a JSON object"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', 'line 1 has the key "text" twice'),
        ("a.csv", b"text,label\na,b\n\nc\n", "row 2 (line 4) has 1 columns, the header 2"),
        ("a.csv", b'sep=;\na;b\n"x\ny";"open\nz\n', "line 3 has a quote in line 4 that is never closed"),
    ],
)
def test_other_files_are_refused(name: str, content: bytes, error: str, page: Page) -> None:
    assert error in read(page, name, content).get("error", "")


def test_a_text_is_blank_as_by_the_command_line(page: Page) -> None:
    points = (*range(0xD800), *range(0xE000, 0x10000), *range(0xE0000, 0xE0200))
    texts = ["", "a", *map(chr, points), " \u200b\x85", "\ufeffx"]
    blank = page.evaluate(BLANK, {"source": SOURCE, "texts": texts})
    assert [text for text, own in zip(texts, blank, strict=True) if own != is_blank(text)] == []


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.NDJSON"])
def test_values_of_json_are_kept_as_written(name: str, page: Page) -> None:
    lines = (
        '{"id":12345678901234567890, "x": 1.0,"text":"a \\"b\\": {\\u00e9, \\\\"}',
        '{ "text" : null, "n": {"a": [1.0, "}"], "b":{}} , "y": true }',
        '{"text": 5}',
    )
    found = read(page, name, "\r\n\n".join(lines).encode())
    assert found["header"] == ["id", "x", "text", "n", "y"]
    assert found["rows"][0] == ["12345678901234567890", "1.0", json.loads(lines[0])["text"], "", ""]
    assert found["rows"][1] == ["", "", "", '{"a": [1.0, "}"], "b":{}}', "true"]
    assert [2 in wrong for wrong in found["wrong"]] == [False, False, True]


@pytest.mark.parametrize(
    ("codec", "encoding"), [("utf-8", "UTF-8"), ("utf-16", "UTF-16"), ("cp1252", "Windows-1252")]
)
def test_encodings_are_recognized(codec: str, encoding: str, page: Page) -> None:
    found = read(page, "a.txt", "größe\r\n\r\nmy card".encode(codec))
    assert (found["encoding"], found["rows"]) == (encoding, [["größe"], ["my card"]])
