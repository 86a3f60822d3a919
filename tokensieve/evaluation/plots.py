"""Plot the training history, the confusion matrix and the calibration of a run.

The plot of the mask is in `mask_plot.py`. The figures are made without pyplot, because its state is
global. The same input gives the same PNG bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

BLUE, ORANGE, GREY, PALE = "#2b6cb0", "#d9741f", "#6b7280", "#e5e7eb"
ANNOTATED = 15  # a confusion matrix of at most so many classes has the counts in its cells
TICKED = 40  # a confusion matrix of at most so many classes has their names on its axes
WORST = 60  # labels in the plot of a multi-label model
PAIRS = 25  # most confused pairs that are listed next to a matrix without names

Bins = Sequence[tuple[float, float, int]]
Float64s = NDArray[np.float64]


def confusion_picture(matrix: list[list[int]], labels: list[str], path: Path) -> None:
    """Plot a confusion matrix, coloured by the share of the true class.

    Up to `TICKED` classes are named on the axes. With more, the most confused pairs are listed
    next to the matrix.

    Args:
        matrix: Counts [true class][predicted class].
        labels: The names of the classes.
        path: The PNG file.
    """
    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = len(labels)
    title = f"{np.trace(counts):,.0f} of {counts.sum():,.0f} correct, {size} classes"
    figure, axes = _with_class_names(labels) if size <= TICKED else _with_pairs(counts, labels)
    # The square root makes a few wrong texts visible next to many correct ones.
    image = axes.imshow(
        shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0.0, vmax=1.0), interpolation="nearest"
    )
    if size <= ANNOTATED:
        _annotate(axes, counts, shares)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("predicted" if size <= TICKED else "predicted (class number, in the order of the labels)")
    axes.set_ylabel("true" if size <= TICKED else "true (class number, in the order of the labels)")
    figure.colorbar(
        image,
        ax=axes,
        shrink=0.7,
        format=PercentFormatter(1.0, 0),
        label="share of the true class",
        ticks=[0, 0.05, 0.2, 0.4, 0.6, 0.8, 1],
    )
    save_figure(figure, path)


def _with_class_names(labels: list[str]) -> tuple[Figure, Axes]:
    """Return a figure for a confusion matrix with the names of the classes on the axes."""
    size = len(labels)
    side = 3.2 + (0.42 if size <= ANNOTATED else 0.24) * size
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    names = [_short(label, 24) for label in labels]
    small = 9 if size <= ANNOTATED else 7
    axes.set_xticks(range(size), names, rotation=90, fontsize=small, parse_math=False)
    axes.set_yticks(range(size), names, fontsize=small, parse_math=False)
    return figure, axes


def _with_pairs(counts: Float64s, labels: list[str]) -> tuple[Figure, Axes]:
    """Return a figure for a confusion matrix next to the most confused pairs."""
    figure = Figure(figsize=(14, 7.4), layout="constrained")
    axes, beside = figure.subplots(1, 2, width_ratios=(1.15, 1))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    _pairs(beside, counts, labels)
    return figure, axes


def _annotate(axes: Axes, counts: Float64s, shares: Float64s) -> None:
    """Write the counts into the cells of a confusion matrix."""
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.35 else "black"
        axes.text(
            column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=9, color=colour
        )


def _pairs(axes: Axes, counts: Float64s, labels: list[str]) -> None:
    """Draw a bar for each of the most confused pairs of classes."""
    wrong = counts * (1 - np.eye(len(labels)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(index), len(labels)) for index in order if wrong.flat[index] > 0]
    names = [f"{_short(labels[true], 26)} → {_short(labels[predicted], 26)}" for true, predicted in pairs]
    bars = axes.barh(range(len(pairs)), [wrong[pair] for pair in pairs], color=ORANGE, height=0.7)
    axes.bar_label(
        bars,
        [f"{wrong[true, predicted]:.0f} of {counts[true].sum():.0f}" for true, predicted in pairs],
        fontsize=8,
        padding=3,
    )
    axes.set_yticks(range(len(pairs)), names, fontsize=8, parse_math=False)
    axes.set_ylim(PAIRS - 0.5, -0.5)
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("texts")
    axes.set_title("Most confused: true → predicted" if pairs else "No confused pairs", fontsize=11)
    plain_axes(axes)


def labels_picture(report: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot F1, precision, recall and the number of texts of each label.

    If there are more than `WORST` labels, only those with the lowest F1 are shown.

    Args:
        report: What `metrics.class_report` returns.
        path: The PNG file.
    """
    worst = sorted(report, key=lambda label: (report[label]["f1"], label))[:WORST]
    figure = Figure(figsize=(9.5, 1.6 + 0.24 * len(worst)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(worst))
    axes.barh(rows, [report[label]["f1"] for label in worst], color=PALE, height=0.7, label="F1")
    for key, colour, marker in (("precision", BLUE, ">"), ("recall", ORANGE, "<")):
        axes.plot(
            [report[label][key] for label in worst],
            rows,
            color=colour,
            marker=marker,
            linestyle="",
            markersize=5,
            label=key,
        )
    names = [f"{_short(label, 32)} ({report[label]['support']:,})" for label in worst]
    axes.set_yticks(rows, names, fontsize=8, parse_math=False)
    axes.set_ylim(len(worst) - 0.5, -0.5)
    axes.set_xlim(0, 1.02)
    axes.set_title(
        "each label" if len(worst) == len(report) else f"the {len(worst)} worst of {len(report)} labels",
        fontsize=11,
    )
    axes.set_xlabel("in brackets: texts with the label")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    plain_axes(axes)
    save_figure(figure, path)


def calibration_picture(before: Bins, after: Bins, path: Path, multilabel: bool = False) -> None:
    """Plot the reliability diagrams before and after temperature scaling.

    The titles have the expected calibration errors.

    Args:
        before: (mean confidence, accuracy, texts) of each bin without a temperature. For a
            multi-label model it is the mean probability, the share of labels that are present, and
            the number of text-label pairs.
        after: The same with the temperature.
        path: The PNG file.
        multilabel: Whether the bins are those of a multi-label model.
    """
    across, up, counted = (
        ("probability", "share present", "texts × labels")
        if multilabel
        else ("confidence", "accuracy", "texts")
    )
    figure = Figure(figsize=(9.5, 5.4), layout="constrained")
    grid = figure.subplots(2, 2, height_ratios=(4, 1), sharex=True, sharey="row")
    for column, (title, bins, colour) in enumerate(
        (("before scaling", before, ORANGE), ("after scaling", after, BLUE))
    ):
        above, below = grid[0, column], grid[1, column]
        _reliability(above, below, bins, colour, f"{up}; bar: gap", title)
        below.set_xlabel(across)
        for axes in (above, below):
            plain_axes(axes)
    grid[0, 0].set_ylabel(up)
    grid[1, 0].set_ylabel(counted)
    save_figure(figure, path)


def _reliability(above: Axes, below: Axes, bins: Bins, colour: str, label: str, title: str) -> None:
    """Draw a reliability diagram into `above`, and the texts of each bin into `below`."""
    filled = [(confidence, accuracy, count) for confidence, accuracy, count in bins if count]
    confidences, accuracies, counts = (np.array(column, dtype=float) for column in zip(*filled, strict=True))
    error = float(np.average(np.abs(confidences - accuracies), weights=counts))
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfectly calibrated")
    above.vlines(
        confidences,
        np.minimum(confidences, accuracies),
        np.maximum(confidences, accuracies),
        color=colour,
        alpha=0.35,
        lw=5,
    )
    above.plot(
        confidences,
        accuracies,
        color=colour,
        marker="o",
        markersize=5,
        linewidth=1.5,
        label=label,
    )
    above.set_title(f"{title}: ECE {error:.3f}", fontsize=11)
    above.set(xlim=(0, 1), ylim=(0, 1.02))
    above.legend(loc="upper left", fontsize=8, frameon=False)
    below.bar(confidences, counts, width=0.8 / max(len(bins), 1), color=colour, alpha=0.7)


def history_picture(history: list[dict[str, Any]], path: Path) -> None:
    """Plot the losses and the validation accuracy per epoch, and mark the best epoch."""
    epochs = [row["epoch"] for row in history]
    best = min(history, key=lambda row: float(row["validation_loss"]))
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    for key, label, colour in (
        ("train_loss", "training loss", ORANGE),
        ("validation_loss", "validation loss, calibrated", BLUE),
    ):
        losses.plot(
            epochs,
            [row[key] for row in history],
            color=colour,
            marker="o",
            markersize=4,
            label=label,
        )
    accuracy.plot(
        epochs, [row["validation_accuracy"] for row in history], color=BLUE, marker="o", markersize=4
    )
    for axes in (losses, accuracy):
        axes.axvline(
            best["epoch"], color=GREY, linewidth=1, linestyle="--", label=f"best: epoch {best['epoch']}"
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("epoch")
        plain_axes(axes)
    losses.set_ylim(0, 1.08 * losses.dataLim.y1)
    losses.set_title("loss", fontsize=11)
    losses.legend(fontsize=8, frameon=False)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracy.set_title(
        f"validation accuracy: {best['validation_accuracy']:.1%} at the best epoch", fontsize=11
    )
    save_figure(figure, path)


def plain_axes(axes: Axes) -> None:
    """Remove the upper and right border, and draw a grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)


def _short(label: str, width: int) -> str:
    line = " ".join(label.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with warnings.catch_warnings():
        # Characters that are missing in the font are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(path, format="png", dpi=130, metadata={"Software": None})
