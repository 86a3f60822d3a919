from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tokensieve.evaluation import mask_plot, plots

BINS = [(0.0, 0.0, 0), (0.25, 0.15, 10), (0.8, 0.7, 30)]
HISTORY = [
    {"epoch": i, "train_loss": 2 / i, "validation_loss": abs(i - 3) + 1.0, "validation_accuracy": 0.2 * i}
    for i in range(1, 5)
]
LABELS = {
    label: {"f1": 0.5, "precision": 0.4, "recall": 0.7, "support": 9, "threshold": 0.3} for label in "ab"
}


def mask(count: int) -> dict[str, tuple[mask_plot.Indices, int]]:
    names = ("attention.self.query", "output.dense")
    return {f"encoder.layer.{layer}.{name}": (np.arange(count), 40) for layer in (1, 2) for name in names}


def confusion(size: int) -> list[list[int]]:
    """Nine of ten are right, the tenth is taken for the next class."""
    return (9 * np.eye(size, dtype=int) + np.roll(np.eye(size, dtype=int), 1, axis=1)).tolist()


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Figure]:
    """Draws a picture and gives the figure that was saved."""
    figures: list[Figure] = []
    save = plots.save_figure
    monkeypatch.setattr(
        plots, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path))
    )

    def draw(picture: Callable[..., None], *inputs: Any) -> Figure:
        picture(*inputs, tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        return figures[-1]

    return draw


def names(ticks: list[Any]) -> list[str]:
    return [tick.get_text() for tick in ticks]


@pytest.mark.parametrize(
    ("picture", "inputs", "others"),
    [
        (mask_plot.mask_picture, (mask(4), "rows"), (mask(5), "rows")),
        (plots.confusion_picture, (confusion(3), ["a", "b", "c"]), (confusion(3), ["a", "b", "d"])),
        (plots.calibration_picture, (BINS, BINS), (BINS, BINS[1:2])),
        (plots.labels_picture, (LABELS,), ({"b": LABELS["b"]},)),
        (plots.history_picture, (HISTORY,), (HISTORY[:2],)),
    ],
)
def test_equal_input_gives_equal_bytes(
    picture: Callable[..., None], inputs: Any, others: Any, tmp_path: Path
) -> None:
    for name, given in (("first", inputs), ("again", inputs), ("other", others)):
        picture(*given, tmp_path / name)
    first = (tmp_path / "first").read_bytes()
    assert first == (tmp_path / "again").read_bytes()
    assert first != (tmp_path / "other").read_bytes()
    assert b"matplotlib" not in first


def test_the_mask_is_drawn_where_it_is(drawn: Callable[..., Figure]) -> None:
    selected = mask(0) | {
        "encoder.layer.2.attention.self.query": (np.array([0, 1, 2, 3, 39]), 40),
        "pooler.dense": (np.arange(0), 8),
    }
    figure = drawn(mask_plot.mask_picture, selected, "columns")
    assert figure.get_suptitle() == "Trained: 5 of 168 columns (3.0%)"
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["attention.self.query", "output.dense", "pooler.dense"]
    assert names(figure.axes[0].get_yticklabels()) == ["layer 2", "layer 1", "no layer"]
    strips = np.ma.filled(panels["attention.self.query"].images[0].get_array(), np.nan)
    assert strips.shape == (3, mask_plot.STRIPES)
    assert strips[0, 0] == strips[0, -1] == 1.0
    assert strips[0, mask_plot.STRIPES // 2] == 0.0
    assert strips[1].max() == 0.0
    assert np.isnan(strips[2]).all()  # the pooler has a panel of its own
    assert [text.get_text() for text in panels["attention.self.query"].texts] == ["12.5%", "0.0%", ""]


def test_every_row_of_a_module_is_in_its_strip() -> None:
    for rows in (3, mask_plot.STRIPES, 1000):
        for row in (0, rows // 2, rows - 1):
            strip = mask_plot._strip(np.array([row]), rows)
            assert strip.max() > 0
            assert np.flatnonzero(strip).mean() / mask_plot.STRIPES == pytest.approx(
                (row + 0.5) / rows, abs=0.01
            )


@pytest.mark.parametrize("size", [2, plots.ANNOTATED, plots.TICKED])
def test_few_classes_are_named_on_the_axes(size: int, drawn: Callable[..., Figure]) -> None:
    labels = [f"class {i}" for i in range(size)]
    axes = drawn(plots.confusion_picture, confusion(size), labels).axes[0]
    assert names(axes.get_xticklabels()) == names(axes.get_yticklabels()) == labels
    assert axes.get_title() == f"{9 * size} of {10 * size} correct, {size} classes"
    counted = [text.get_text() for text in axes.texts]
    assert sorted(counted) == (sorted(["9", "1"] * size) if size <= plots.ANNOTATED else [])


def test_of_many_classes_the_most_confused_are_named(drawn: Callable[..., Figure]) -> None:
    matrix = confusion(150)
    matrix[7][100] = 5
    pairs = drawn(plots.confusion_picture, matrix, [f"class {i}" for i in range(150)]).axes[1]
    shown = names(pairs.get_yticklabels())
    assert len(shown) == plots.PAIRS
    assert shown[:2] == ["class 7 → class 100", "class 0 → class 1"]
    assert pairs.texts[0].get_text() == "5 of 15"


def test_many_classes_without_a_mistake(drawn: Callable[..., Figure]) -> None:
    pairs = drawn(plots.confusion_picture, np.eye(60, dtype=int).tolist(), [str(i) for i in range(60)]).axes[
        1
    ]
    assert pairs.get_title() == "No confused pairs"


def test_labels_are_drawn_as_they_are(drawn: Callable[..., Figure]) -> None:
    # Formulas, scripts the font lacks, line breaks and long names; a class without an example.
    labels = ["$x$ and $\\bad{", "账户余额", "two\nlines", "a" * 99]
    axes = drawn(
        plots.confusion_picture, [[1, 0, 0, 0], [0, 2, 0, 1], [0, 0, 0, 0], [0, 0, 0, 4]], labels
    ).axes[0]
    assert names(axes.get_yticklabels()) == [labels[0], labels[1], "two lines", "a" * 23 + "…"]
    many = drawn(plots.confusion_picture, confusion(60), [f"$\\frac{{{i}$" for i in range(60)])
    assert names(many.axes[1].get_yticklabels())[0] == "$\\frac{0$ → $\\frac{1$"


def test_the_calibration_error_is_the_weighted_gap(drawn: Callable[..., Figure]) -> None:
    figure = drawn(plots.calibration_picture, BINS, [(0.5, 0.5, 3)])
    assert figure.axes[0].get_title() == "before scaling: ECE 0.100"
    assert figure.axes[1].get_title() == "after scaling: ECE 0.000"


def test_the_axes_have_labels_for_the_counts(drawn: Callable[..., Figure]) -> None:
    for several, words in ((False, ["accuracy", "texts"]), (True, ["share present", "texts × labels"])):
        figure = drawn(lambda path, several=several: plots.calibration_picture(BINS, BINS, path, several))
        assert [figure.axes[place].get_ylabel() for place in (0, 2)] == words


@pytest.mark.parametrize(
    ("size", "title"),
    [(3, "each label"), (plots.WORST + 1, f"the {plots.WORST} worst of {plots.WORST + 1} labels")],
)
def test_labels_are_sorted_by_f1_the_worst_first(size: int, title: str, drawn: Callable[..., Figure]) -> None:
    report = {
        f"$label{i}": {"f1": 1 - i / 100, "precision": 1.0, "recall": 0.5, "support": 1000 + i}
        for i in range(size)
    }
    axes = drawn(plots.labels_picture, report).axes[0]
    assert axes.get_title() == title
    assert names(axes.get_yticklabels())[0] == f"$label{size - 1} ({1000 + size - 1:,})"
    assert axes.patches[0].get_width() == pytest.approx(1 - (size - 1) / 100)


def test_the_best_epoch_is_marked(drawn: Callable[..., Figure]) -> None:
    losses, accuracy = drawn(plots.history_picture, HISTORY).axes
    assert "best: epoch 3" in [text.get_text() for text in losses.get_legend().get_texts()]
    assert accuracy.get_title() == "validation accuracy: 60.0% at the best epoch"
    drawn(plots.history_picture, HISTORY[:1])


def test_pyplot_and_its_global_state_stay_out() -> None:
    program = "import sys, tokensieve.evaluation.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
