"""Plot the mask: which weights of each layer are trained."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tokensieve.evaluation import plots
from tokensieve.evaluation.module_names import layer_and_module
from tokensieve.evaluation.plots import Float64s

STRIPES = 128  # bins per strip

Indices = NDArray[np.int64]


def mask_picture(selected: dict[str, tuple[Indices, int]], unit: str, path: Path) -> None:
    """Plot which rows, columns or entries of each linear module are trained.

    Each line of the plot is a layer, and each column is a module of the layer. A strip shows the
    rows of the module from the first to the last. Its colour shows which share of them is trained.
    The number next to it is the share of the whole module.

    Args:
        selected: The selected indices and the number of all rows, columns or entries, by module
            name.
        unit: What is selected: rows, columns or entries.
        path: The PNG file.
    """
    positions = {name: layer_and_module(name) for name in selected}
    layers = sorted({layer for layer, _ in positions.values()}, reverse=True)
    modules = list(dict.fromkeys(module for _, module in positions.values()))
    figure = Figure(
        figsize=(max(4.5, 1.6 + 1.9 * len(modules)), 1.5 + 0.34 * len(layers)), layout="constrained"
    )
    grid = figure.subplots(1, len(modules), squeeze=False)[0]
    for axes, module in zip(grid, modules, strict=True):
        strips = np.full((len(layers), STRIPES), np.nan)
        shares = [""] * len(layers)
        for name, (indices, rows) in selected.items():
            layer, own = positions[name]
            if own == module:
                strips[layers.index(layer)] = _strip(indices, rows)
                shares[layers.index(layer)] = f"{len(indices) / rows:.1%}"
        _strips(axes, module, strips, shares)
    grid[0].set_yticks(
        range(len(layers)), [f"layer {layer}" if layer >= 0 else "no layer" for layer in layers], fontsize=8
    )
    trained, total = (
        sum(len(indices) for indices, _ in selected.values()),
        sum(rows for _, rows in selected.values()),
    )
    figure.suptitle(f"Trained: {trained:,} of {total:,} {unit} ({trained / total:.1%})", fontsize=11)
    figure.supxlabel(
        f"{unit} from first to last; the number is the trained share", fontsize=8, color=plots.GREY
    )
    plots.save_figure(figure, path)


def _strip(indices: Indices, rows: int) -> Float64s:
    """Return the share of the rows that is selected in each bin, float64 [STRIPES]."""
    chosen = np.zeros(rows)
    chosen[indices] = 1.0
    edges = np.linspace(0, rows, STRIPES + 1)
    # If there are fewer rows than bins, one row fills several bins.
    return np.array([chosen[int(a) : max(int(a) + 1, int(b))].mean() for a, b in pairwise(edges)])


def _strips(axes: Axes, module: str, strips: Float64s, shares: list[str]) -> None:
    # From a share of one half on, the colour is full, so that single rows are visible.
    colours = ListedColormap([_mix(min(1.0, 2 * step / 63)) for step in range(64)])
    axes.imshow(strips, aspect="auto", interpolation="nearest", cmap=colours, vmin=0.0, vmax=1.0)
    for line in range(len(shares) + 1):
        axes.axhline(line - 0.5, color="white", linewidth=3)
    for line, share in enumerate(shares):
        axes.text(
            1.02, line, share, transform=axes.get_yaxis_transform(), va="center", fontsize=7, color=plots.GREY
        )
    axes.set_title(module, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _mix(share: float) -> tuple[float, float, float]:
    pale, full = (
        [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in (plots.PALE, plots.BLUE)
    )
    red, green, blue = (a + (b - a) * share for a, b in zip(pale, full, strict=True))
    return red, green, blue
