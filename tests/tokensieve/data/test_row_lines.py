from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tokensieve.data.row_lines import row_lines


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
