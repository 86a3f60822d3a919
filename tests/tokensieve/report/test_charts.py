from __future__ import annotations

import re

import pytest

from tokensieve.report import charts
from tokensieve.report.charts import Axis, Series, line_chart, number_axis, percent_axis
from tokensieve.report.content import Build, MaskMap, Measure


@pytest.mark.parametrize(("highest", "end"), [(0.0, 4e-6), (0.31, 0.4), (1.3, 2.0), (3.9, 4.0), (75.0, 80.0)])
def test_an_axis_ends_at_a_round_number(highest: float, end: float) -> None:
    axis = number_axis("loss", highest)
    assert axis.high == pytest.approx(end)
    assert [value for value, _ in axis.ticks] == pytest.approx([end * i / 4 for i in range(5)])


def test_points_are_placed_between_the_ends_of_the_axes() -> None:
    x = Axis(1, 3, [(1, "1")], "epoch")
    chart = line_chart(
        "t", [Series("s", [(1, 0.0), (3, 1.0), (9, 7.0)], "c1", dots=True)], x, percent_axis("y")
    )
    (points,) = re.findall('points="([^"]*)"', chart)
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    bottom, top = charts.HEIGHT - charts.BOTTOM, charts.TOP
    assert points == f"{left:.1f},{bottom:.1f} {right:.1f},{top:.1f} {right:.1f},{top:.1f}"
    assert chart.count("<circle") == 3


def test_the_area_of_a_dot_shows_its_size() -> None:
    line = Series("s", [(0.1, 0.0), (0.5, 1.0), (0.9, 0.9)], "c1", dots=True, sizes=[1, 25, 100])
    chart = line_chart("t", [line], percent_axis("x"), percent_axis("y"))
    assert [float(r) for r in re.findall(' r="(.*?)"', chart)] == [
        charts.LEAST_DOT,
        charts.LARGEST_DOT / 2,
        charts.LARGEST_DOT,
    ]


def test_a_mark_near_the_end_is_named_to_its_left() -> None:
    axis = percent_axis("x")
    assert 'text-anchor="start">half<' in line_chart("t", [], axis, axis, mark=(0.5, "half"))
    assert 'text-anchor="end">most<' in line_chart("t", [], axis, axis, mark=(0.9, "most"))


def test_phases_are_bands_around_their_epochs() -> None:
    found = charts.phases(["head", "head", "all", "top"])
    assert [(band.name, band.low, band.high) for band in found] == [
        ("head", 0.5, 2.5),
        ("all", 2.5, 3.5),
        ("top", 3.5, 4.5),
    ]


def test_an_interval_of_a_share_of_0_or_1_is_drawn() -> None:
    chart = charts.interval_chart("t", [Measure("a", 1.0, 0.9, 1.0), Measure("b", 0.0, 0.0, 0.1)])
    assert "100.0% (90.0% to 100.0%)" in chart
    assert 'width="0.0"' in chart


def test_the_slowest_build_has_the_longest_bar() -> None:
    chart = charts.build_chart("t", [Build("fp32", 4.0, "", ()), Build("int8", 1.0, "served", ())])
    widths = [float(width) for width in re.findall('class="fill .*?width="(.*?)"', chart)]
    assert widths[0] == pytest.approx(4 * widths[1])
    assert "int8 (served)" in chart


def test_the_deepest_colour_is_the_largest_share() -> None:
    chart = charts.heat_map("t", MaskMap(("query", "<key>"), ("layer 0",), ((0.2, 0.05),), ""))
    assert re.findall('fill-opacity="(.*?)"', chart) == ["1.00", "0.25"]
    assert "&lt;key&gt;" in chart


def test_a_mask_of_nothing_and_a_missing_matrix_are_drawn() -> None:
    chart = charts.heat_map("t", MaskMap(("query", "key"), ("layer 0",), ((0.0, None),), ""))
    assert chart.count("fill-opacity") == 1
