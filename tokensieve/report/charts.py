"""Charts as inline SVG, in the colours of the page: they follow its light or dark scheme.

A chart is 328 units wide, as it is on a phone, so that its text stays readable there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from tokensieve.report.content import Build, MaskMap, Measure

WIDTH, HEIGHT = 328, 220
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 10, 40  # margins around the axes
DOT, LEAST_DOT, LARGEST_DOT = 3.5, 2.0, 7.0  # radii

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A line through points.

    Attributes:
        name: In the legend.
        points: From left to right.
        style: The class of its colour: c1, c2, c3 or quiet.
        dots: Whether each point has a dot.
        sizes: What the area of each dot shows. Empty: all dots are alike.
    """

    name: str
    points: Sequence[Point]
    style: str
    dots: bool = False
    sizes: Sequence[float] = ()


@dataclass(frozen=True)
class Axis:
    """The range of an axis, its ticks with their text, and its name."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    name: str


@dataclass(frozen=True)
class Band:
    """A range of the horizontal axis with another background. `name` is written at its top."""

    low: float
    high: float
    name: str = ""
    style: str = "band"


def percent_axis(name: str, low: float = 0.0) -> Axis:
    """Return an axis of shares from `low` to 1."""
    steps = [low + (1 - low) * i / 4 for i in range(5)]
    return Axis(low, 1.0, [(value, f"{value:.0%}") for value in steps], name)


def number_axis(name: str, highest: float) -> Axis:
    """Return an axis from 0 to a round number that is not below `highest`."""
    step = next(s * 10.0**e for e in range(-6, 10) for s in (1, 2, 5) if s * 10.0**e * 4 >= highest)
    return Axis(0.0, 4 * step, [(i * step, f"{i * step:g}") for i in range(5)], name)


def line_chart(
    title: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    bands: Sequence[Band] = (),
    mark: tuple[float, str] | None = None,
    mark_is_high: bool = False,
) -> Markup:
    """Return a line chart.

    `mark` is a vertical line with its name, which is written at the bottom, or with `mark_is_high`
    near the top.
    """
    across, down = _scale(x, LEFT, WIDTH - RIGHT), _scale(y, HEIGHT - BOTTOM, TOP)
    parts = [_band(band, across) for band in bands] + _axes(x, y, across, down)
    for line in series:
        parts += _series(line, across, down)
    if mark:
        parts += _mark(across(mark[0]), mark[1], mark_is_high)
    return _svg(title, HEIGHT, parts)


def histogram(
    title: str, series: Sequence[Series], x: Axis, y: Axis, mark: tuple[float, str] | None = None
) -> Markup:
    """Return columns of equal width, with the counts of all series on top of each other.

    The points of each series are the right end of a column and its count. `mark` is a vertical line
    with its name.
    """
    across, down = _scale(x, LEFT, WIDTH - RIGHT), _scale(y, HEIGHT - BOTTOM, TOP)
    parts = _axes(x, y, across, down)
    columns = max((len(line.points) for line in series), default=1)
    width, reached = (WIDTH - RIGHT - LEFT) / columns, [0.0] * columns
    for line in series:
        for i, (end, count) in enumerate(line.points):
            top = down(reached[i] + count)
            height = down(reached[i]) - top
            if count:
                left = across(end) - width
                parts.append(_rectangle(left + 0.5, top, width - 1, height, f"fill {line.style}"))
            reached[i] += count
    if mark:
        parts += _mark(across(mark[0]), mark[1], is_high=True)
    return _svg(title, HEIGHT, parts)


def stacked_bar(counts: Sequence[tuple[str, float]], most: float) -> Markup:
    """Return one bar of pairs of style and count; a bar of `most` has the whole width.

    It has no name: the numbers are beside it.
    """
    parts, x = [], 0.0
    for style, count in counts:
        width = WIDTH * count / most
        parts.append(_rectangle(x, 0, width, 8, f"fill {style}"))
        x += width
    head = Markup('<svg class="bar" viewBox="0 0 {} 8" preserveAspectRatio="none" aria-hidden="true">')
    return head.format(WIDTH) + Markup("").join(parts) + Markup("</svg>")


def interval_chart(title: str, measures: Sequence[Measure]) -> Markup:
    """Return a bar per measure from 0 to 1, with its 95% interval as a line."""
    row, parts = 46, []
    across = _scale(percent_axis(""), 0, WIDTH - RIGHT)
    for i, measure in enumerate(measures):
        y = i * row
        style = "c1" if i == 0 else "quiet"
        value = f"{measure.value:.1%} ({measure.low:.1%} to {measure.high:.1%})"
        parts.append(_text(0, y + 14, measure.name, "label", "start"))
        parts.append(_text(WIDTH - RIGHT, y + 14, value, "label", "end"))
        parts.append(_rectangle(0, y + 21, WIDTH - RIGHT, 12, "track"))
        parts.append(_rectangle(0, y + 21, across(measure.value), 12, f"fill {style}"))
        parts.append(_line(across(measure.low), y + 27, across(measure.high), y + 27, "whisker"))
        parts += [
            _line(across(end), y + 22, across(end), y + 32, "whisker") for end in (measure.low, measure.high)
        ]
    return _svg(title, row * len(measures) - 8, parts)


def build_chart(title: str, builds: Sequence[Build]) -> Markup:
    """Return a bar per exported variant: its milliseconds per text."""
    row, most, parts = 40, max(build.milliseconds for build in builds), []
    for i, build in enumerate(builds):
        y = i * row
        state = f" ({build.state})" if build.state else ""
        length = (WIDTH - RIGHT) * build.milliseconds / most
        parts.append(_text(0, y + 14, f"{build.name}{state}", "label", "start"))
        parts.append(_text(WIDTH - RIGHT, y + 14, f"{build.milliseconds:.2f} ms", "label", "end"))
        parts.append(
            _rectangle(0, y + 20, length, 10, f"fill {'c1' if build.state == 'served' else 'quiet'}")
        )
    return _svg(title, row * len(builds) - 6, parts)


def heat_map(title: str, mask: MaskMap) -> Markup:
    """Return a cell per layer and matrix, coloured by its trained share, with the share in it."""
    left, head, row = 52, 84, 26
    width = (WIDTH - left) / len(mask.modules)
    most = max((share for line in mask.shares for share in line if share is not None), default=1.0) or 1.0
    parts = []
    for j, module in enumerate(mask.modules):
        x = left + (j + 0.5) * width
        parts.append(
            # The text ends at its column, coming from the upper left, so it stays inside.
            Markup(
                '<text class="tick" text-anchor="end" transform="translate({:.1f} {}) rotate(40)">{}</text>'
            ).format(x + 2, head - 6, module)
        )
    for i, (layer, shares) in enumerate(zip(mask.layers, mask.shares, strict=True)):
        y = head + (len(mask.layers) - 1 - i) * row
        parts.append(_text(left - 8, y + 17, layer, "tick", "end"))
        for j, share in enumerate(shares):
            x = left + j * width
            parts.append(_rectangle(x + 1, y + 1, width - 2, row - 2, "track"))
            if share is None:
                continue
            depth = share / most
            parts.append(_rectangle(x + 1, y + 1, width - 2, row - 2, "fill c1", opacity=depth))
            style = "tick inverse" if depth > 0.6 else "tick strong"
            parts.append(_text(x + width / 2, y + 17, f"{share:.0%}", style, "middle"))
    return _svg(title, head + row * len(mask.layers), parts)


def _axes(x: Axis, y: Axis, across: Callable[[float], float], down: Callable[[float], float]) -> list[Markup]:
    parts = []
    for value, text in y.ticks:
        parts.append(_line(LEFT, down(value), WIDTH - RIGHT, down(value), "grid"))
        parts.append(_text(LEFT - 6, down(value) + 4, text, "tick", "end"))
    for value, text in x.ticks:
        parts.append(_text(across(value), HEIGHT - BOTTOM + 16, text, "tick", "middle"))
    return [*parts, _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x.name, "name", "middle")]


def _mark(at: float, name: str, is_high: bool) -> list[Markup]:
    near_the_end = at > WIDTH * 0.6
    anchor, height = "end" if near_the_end else "start", TOP + 32 if is_high else HEIGHT - BOTTOM - 7
    return [
        _line(at, TOP, at, HEIGHT - BOTTOM, "mark"),
        _text(at + (-5 if near_the_end else 5), height, name, "tick strong above", anchor),
    ]


def _scale(axis: Axis, start: float, end: float) -> Callable[[float], float]:
    """Return the function from values of an axis to places between `start` and `end`."""
    span = (axis.high - axis.low) or 1.0

    def place(value: float) -> float:
        share = min(1.0, max(0.0, (value - axis.low) / span))
        return start + (end - start) * share

    return place


def _series(line: Series, across: Callable[[float], float], down: Callable[[float], float]) -> list[Markup]:
    places = [(across(x), down(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [Markup('<polyline class="line {}" points="{}"/>').format(line.style, path)]
    if line.dots:
        dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.3g}"/>')
        most = max(line.sizes, default=1.0)
        radii = [max(LEAST_DOT, LARGEST_DOT * (size / most) ** 0.5) for size in line.sizes]
        radii = radii or [DOT] * len(places)
        parts += [dot.format(line.style, x, y, radius) for (x, y), radius in zip(places, radii, strict=True)]
    return parts


def _band(band: Band, across: Callable[[float], float]) -> Markup:
    low, high = across(band.low), across(band.high)
    found = _rectangle(low, TOP, high - low, HEIGHT - BOTTOM - TOP, band.style)
    return found + (_text((low + high) / 2, TOP + 12, band.name, "tick", "middle") if band.name else Markup())


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    line = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return line.format(style, x1, y1, x2, y2)


def _rectangle(
    x: float, y: float, width: float, height: float, style: str, opacity: float | None = None
) -> Markup:
    shown = Markup("") if opacity is None else Markup(' fill-opacity="{:.2f}"').format(opacity)
    found = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2"{}/>')
    return found.format(style, x, y, max(width, 0), height, shown)


def _text(x: float, y: float, text: str, style: str, anchor: str) -> Markup:
    found = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    return found.format(style, x, y, anchor, text)


def _svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, title)
    return head + Markup("").join(parts) + Markup("</svg>")


def phases(names: Sequence[str]) -> list[Band]:
    """Return a band per run of equal names. Item i of `names` is at place i + 1."""
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    return [
        Band(start + 0.5, stop + 0.5, names[start], "band" if number % 2 == 0 else "band other")
        for number, (start, stop) in enumerate(pairwise([*starts, len(names)]))
    ]
