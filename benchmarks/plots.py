"""Draw the pictures of the benchmarks. No other module of the benchmarks imports matplotlib."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

BLUE, GREY, PALE, INK = "#2b6cb0", "#6b7280", "#e5e7eb", "#111827"
COLOURS = (BLUE, "#d9741f", "#2f855a", "#805ad5", "#b83280")
OURS = "tokensieve"
LEAST_SPAN = 0.01  # of an axis of scores


def cost_picture(points: Mapping[str, tuple[float, float]], path: Path) -> None:
    """Plot the mean score over tasks against the cost relative to end_to_end, one point per method.

    The names are in a column next to the plot, so that they do not overlap.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    order = sorted(points, key=lambda method: points[method][1])
    for method, height in zip(order, _heights([points[method][1] for method in order]), strict=True):
        colour = BLUE if method == OURS else GREY
        axes.scatter(*points[method], color=colour, s=45, zorder=3)
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6}
        axes.annotate(
            method,
            points[method],
            (1.03, height),
            textcoords=axes.transAxes,
            fontsize=9,
            color=INK,
            va="center",
            arrowprops=line,
        )
    axes.set_ylim(_limits([score for _, score in points.values()]))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training cost, end_to_end = 1 (log scale)")
    axes.set_ylabel("mean test score")
    _finish(axes)
    figure.savefig(path, format="png", dpi=130, metadata={"Software": None})


def serving_picture(
    milliseconds: Mapping[str, float], rates: Mapping[str, Mapping[int, float]], alone: float, path: Path
) -> None:
    """Plot the speed of predictions, in one process on the left and over HTTP on the right.

    Args:
        milliseconds: The milliseconds per text of each method: one bar each.
        rates: The texts per second of each server, by number of clients: one line each.
        alone: The texts per second of the predictor without a server.
        path: The PNG file.
    """
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    bars, lines = figure.subplots(1, 2, width_ratios=(3, 2))
    names = list(milliseconds)[::-1]
    drawn = bars.barh(
        names,
        [milliseconds[name] for name in names],
        color=[BLUE if name == OURS else GREY for name in names],
    )
    bars.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8, color=INK)
    bars.margins(x=0.1)
    bars.set_xlabel("ms per text (p50), one thread, in process")
    rivals = iter(COLOURS[1:])
    for name, found in rates.items():
        lines.plot(
            list(found),
            list(found.values()),
            marker="o",
            label=name,
            color=BLUE if name == OURS else next(rivals),
        )
    lines.axhline(alone, color=GREY, linestyle=":", label="predictor alone")
    lines.set_xscale("log", base=2)
    clients = sorted({count for found in rates.values() for count in found})
    lines.set_xticks(clients, [str(count) for count in clients])
    lines.set_ylim(bottom=0)
    lines.set_xlabel("clients at the same time")
    lines.set_ylabel("texts per second")
    lines.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for axes in (bars, lines):
        _plain(axes)
    figure.savefig(path, format="png", dpi=130, metadata={"Software": None})


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of an axis: at least a point apart, so that a small gap looks small."""
    low, high = min(values), max(values)
    margin = max(0.08 * (high - low), (LEAST_SPAN - (high - low)) / 2)
    return low - margin, high + margin


def _heights(values: Sequence[float], gap: float = 0.05) -> list[float]:
    """Return the heights of labels for ascending `values`, as shares of the axes.

    A label is at the height of its value, but at least `gap` from the others.
    """
    low, high = _limits(values)
    heights = [(value - low) / (high - low) for value in values]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    # Labels that are now above the top move down again.
    limit = 1.0
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], limit)
        limit = heights[i] - gap
    return heights


def spread_picture(found: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Plot the scores by method and task.

    There is one panel per task and one dot per seed. A bar is the mean.
    """
    tasks = sorted({task for by_task in found.values() for task in by_task})
    methods = list(found)
    figure = Figure(figsize=(1.4 + 3.1 * len(tasks), 1.3 + 0.32 * len(methods)), layout="constrained")
    grid = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    for axes, task in zip(grid, tasks, strict=True):
        for row, method in enumerate(methods):
            values = found[method].get(task, ())
            axes.scatter(
                values, [row] * len(values), color=BLUE if method == OURS else GREY, s=22, alpha=0.7, zorder=3
            )
            if values:
                axes.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.5, zorder=4)
        axes.set_title(task, fontsize=10)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, 1))
        axes.tick_params(axis="x", labelsize=8)
        _plain(axes)
    grid[0].set_yticks(range(len(methods)), methods, fontsize=9)
    grid[0].invert_yaxis()
    figure.supxlabel("test score; one dot per seed, bar: mean", fontsize=9, color=GREY)
    figure.savefig(path, format="png", dpi=130, metadata={"Software": None})


def budget_picture(curves: Mapping[str, Sequence[tuple[float, float, float]]], path: Path) -> None:
    """Plot one line per method, through (budget, mean score, its standard deviation over seeds)."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for colour, (method, points) in zip(COLOURS, curves.items(), strict=False):
        shares, means, deviations = (np.array(column, dtype=float) for column in zip(*points, strict=True))
        axes.errorbar(
            shares,
            means,
            np.nan_to_num(deviations),
            color=colour,
            marker="o",
            markersize=4,
            capsize=3,
            label=method,
        )
    axes.set_xscale("log")
    budgets = sorted({budget for points in curves.values() for budget, _, _ in points})
    axes.set_xticks(budgets, [f"{100 * budget:g}%" for budget in budgets])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("trained share of the encoder's linear weights (log scale)")
    axes.set_ylabel("mean test score")
    axes.legend(fontsize=9, frameon=False)
    _finish(axes)
    figure.savefig(path, format="png", dpi=130, metadata={"Software": None})


def shares_picture(shares: Mapping[str, float], path: Path) -> None:
    """Plot the share of rows that is selected of each linear module, by module name.

    There is one line per layer, and one column per module of a layer.
    """
    places = {name: re.fullmatch(r".*?\.?(\d+)\.(.+)", name) for name in shares}
    layers = sorted({int(place[1]) for place in places.values() if place}, reverse=True)
    modules = list(dict.fromkeys(place[2] for place in places.values() if place))
    grid = np.full((len(layers), len(modules)), np.nan)
    for name, place in places.items():
        if place:
            grid[layers.index(int(place[1])), modules.index(place[2])] = shares[name]
    figure = Figure(figsize=(1.6 + 1.2 * len(modules), 1.6 + 0.4 * len(layers)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid, cmap="Blues", vmin=0, aspect="auto")
    for (row, column), share in np.ndenumerate(grid):
        if not np.isnan(share):
            colour = "white" if share > np.nanmax(grid) / 2 else INK
            axes.text(column, row, f"{share:.1%}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(modules)), [module.replace(".", "\n") for module in modules], fontsize=8)
    axes.set_yticks(range(len(layers)), [f"layer {layer}" for layer in layers])
    axes.set_title("Share of rows selected, mean over tasks and seeds", fontsize=10)
    figure.savefig(path, dpi=120)


def _finish(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, 1))
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
