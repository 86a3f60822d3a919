from __future__ import annotations

import re

import pytest

from tokensieve.report.distributions import LISTED, PartTexts, class_table, length_chart


def part(name: str, labels: list[str], lengths: list[int] | None = None) -> PartTexts:
    return PartTexts(name, [(label,) if label else () for label in labels], lengths or [])


def rows(table: str) -> list[list[str]]:
    """Return the cells of each row as text, without bars."""
    found = re.findall("<tr><td>(.*?)</tr>", table)
    return [re.sub("<[^>]*>", " ", row).replace(" ", " ").split() for row in found]


def test_classes_are_counted_by_part_from_the_largest() -> None:
    table = class_table([part("train", ["fee", "card", "card"]), part("test", ["fee", "fee"])])
    assert rows(table) == [["fee", "1", "2"], ["card", "2", "0"]]
    widths = [float(width) for width in re.findall('class="fill c.*? width="(.*?)"', table)]
    assert widths == pytest.approx([328 / 3, 2 * 328 / 3, 2 * 328 / 3, 0.0], abs=0.1)


def test_of_many_classes_the_smaller_ones_are_one_row() -> None:
    labels = [f"class{i:02}" for i in range(LISTED + 3) for _ in range(50 - i)]
    found = rows(class_table([part("train", labels)]))
    assert len(found) == LISTED + 1
    assert found[-1] == ["3", "others,", "18", "to", "20", "each", "57"]
    assert rows(class_table([part("train", [str(i) for i in range(LISTED + 1)])]))[-1] == ["1", "other", "1"]


def test_a_text_counts_for_each_of_its_labels_and_without_labels_for_none() -> None:
    assert rows(class_table([PartTexts("train", [("a", "b"), ("b",), ()], [])])) == [["b", "2"], ["a", "1"]]
    assert not class_table([part("oos", ["", ""])])


def test_a_label_is_text() -> None:
    table = class_table([part("train", ["<script>alert(1)</script>", "x" * 500])])
    assert "<script" not in table
    assert "&lt;script&gt;" in table
    assert "x" * 100 not in table


def test_lengths_are_counted_in_columns_that_have_their_right_end() -> None:
    chart = length_chart([part("train", [""] * 4, [8, 8, 9, 30]), part("oos", [""], [9])], 8)
    heights = re.findall(r'class="fill (\w+)" x="(.*?)".*?height="(.*?)"', chart)
    # Two texts of 8 tokens are left of the line at 8; of 9 tokens there is one text per part.
    assert [style for style, *_ in heights] == ["c1", "c1", "c1", "quiet"]
    assert float(heights[0][2]) == pytest.approx(2 * float(heights[1][2]), abs=0.2)
    line = float(re.findall('class="mark" x1="(.*?)"', chart)[0])
    assert float(heights[0][1]) < line < float(heights[1][1])
    assert "3 of 5 texts (60.0%) are longer than base.max_length (8)" in chart


def test_a_limit_far_beyond_the_texts_is_named_without_a_line() -> None:
    chart = length_chart([part("train", ["a"] * 3, [3, 4, 5])], 512)
    assert 'class="mark"' not in chart
    assert "No text is longer than base.max_length (512)." in chart


def test_the_longest_texts_are_in_the_last_column() -> None:
    chart = length_chart([part("train", ["a"] * 400, [10] * 199 + [9000])], 20)
    assert "The last column also has the texts of more than 40 tokens (1)." in chart
    assert "The tokens of a sample of the 400 texts were counted." in chart
    assert not length_chart([part("train", [])], 20)
