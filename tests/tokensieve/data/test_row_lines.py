from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tokensieve.data.raw_data import read_examples
from tokensieve.data.row_lines import row_lines
from tokensieve.errors import InputError


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", 'text,label\none,a\n"two\nlines",b\n\nlast,c\n', {1: 2, 2: 3, 3: 6}),
        ("a.csv", "sep=;\ntext;label\none;a\nlast;b\n", {1: 3, 2: 4}),
        ("a.tsv", "text\tlabel\none\ta\nlast\tb\n", {1: 2, 2: 3}),
        ("a.jsonl", '{"text": "one"}\n\n{"text": "last"}\n', {1: 1, 2: 3}),
    ],
)
def test_a_row_starts_on_its_line(tmp_path: Path, name: str, content: str, expected: dict[int, int]) -> None:
    (tmp_path / name).write_text(content)
    assert row_lines(tmp_path / name, expected) == expected
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    assert row_lines(tmp_path / f"{name}.gz", [2]) == {2: expected[2]}


def test_tables_without_lines(tmp_path: Path) -> None:
    assert row_lines(tmp_path / "a.parquet", [1]) == {}
    assert row_lines(tmp_path / "a.csv", []) == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '\n{"text": "a", "label": 1}\n\n[]\n', "row 2 (line 4): '[]' is not an object"),
        ("a.jsonl", '\n{"text": "a"}\n', "row 1 (line 2) has no column 'label'"),
        ("a.jsonl", '\n{"text": 7, "label": "x"}\n', "row 1 (line 2): 'text' is '7'"),
        ("a.jsonl", '\n{"text": "a", "label": {"b": 1}}\n', "row 1 (line 2): 'label' is \"{'b': 1}\""),
        ("a.jsonl", '\n{"text": "\\ud800", "label": "x"}\n', "row 1 (line 2): 'text' has '\\ud800'"),
        (
            "a.csv",
            'text,label\n"b\nc",1.5\n\nd,2.5\n',
            "line 2: column 'label' has the fraction",
        ),
        ("a.csv", 'text,label\n"b\nc",x\n\nd,2.5\n', "line 5: column 'label' has the fraction"),
        ("a.tsv", "text\tlabel\nb\tx\n\nd\n", "row 2 (line 4) has 1 columns"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_its_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_examples(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert message in str(raised.value)
