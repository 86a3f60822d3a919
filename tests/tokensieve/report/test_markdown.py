from __future__ import annotations

from tokensieve.report.markdown import inline, table


def test_special_characters_are_escaped() -> None:
    assert inline("a|b *c* <d> & [e](f)\n# g") == r"a\|b \*c\* &lt;d> &amp; \[e\](f) \# g"


def test_a_table_has_a_line_per_row() -> None:
    assert table(("a", "b"), [("1", "x|y")]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"
