"""Render a report as one HTML page that loads nothing and runs no script.

Labels and texts are data: they are escaped, isolated in their direction, and cut if they are long.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tokensieve.report import charts
from tokensieve.report.charts import Axis, Band, Series
from tokensieve.report.content import Calibration, Epoch, Report, ThresholdCurve, opening

LABEL, TEXT, FACT = 80, 400, 2000  # characters that are shown of a label, a text and a fact
# Characters that HTML does not allow, among them halves of surrogate pairs.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def render_page(report: Report) -> str:
    """Return the page. Every text in `report` is shown as text, whatever it contains."""
    page = _environment().get_template("report.html.j2").render(report=report, shown=_shown(report))
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", page)


@dataclass(frozen=True)
class Section:
    """A section of the Data Docs: a table, or other content.

    Attributes:
        title: The heading.
        name: The name of the table for screen readers.
        head: The names of its columns.
        rows: Its rows, each with its result: error, warning, note or passed.
        content: What is shown instead of a table.
    """

    title: str
    name: str = ""
    head: Sequence[str] = ()
    rows: Sequence[tuple[str, Sequence[str]]] = ()
    content: Markup | None = None


def render_data_docs(title: str, sections: Sequence[Section]) -> str:
    """Return the page of the Data Docs. Every text is shown as text, whatever it contains."""
    page = _environment().get_template("data_docs.html.j2").render(title=title, sections=sections)
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", page)


def _shown(report: Report) -> dict[str, bool]:
    """Return which sections have something to show."""
    return {
        "compared": bool(report.compared or report.gate),
        "data": bool(report.data or report.warnings),
        "classes": bool(report.classes),
        "audit": bool(report.audit),
        "confusions": bool(report.confusions or report.matrix),
        "certainty": bool(report.calibration or report.threshold),
        "constructs": bool(report.constructs),
        "training": bool(report.epochs or report.mask or report.mask_facts),
        "builds": bool(report.builds),
        "lineage": bool(report.lineage),
        "next": bool(report.commands),
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tokensieve.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"label": short_label, "text": _text, "short": _short}
    environment.filters |= {"percent": _percent, "sentence": _sentence, "opening": opening}
    environment.globals["charts"] = charts
    environment.globals |= {"learning": _learning, "reliability": _reliability, "threshold": _threshold}
    return environment


def short_label(value: str) -> Markup:
    """Return a label, cut and isolated: one that is written from right to left moves nothing.

    A line may end after an underscore.
    """
    shown = escape(_cut(" ".join(value.split()), LABEL)).replace("_", Markup("_<wbr>"))
    return Markup("<bdi>{}</bdi>").format(shown)


def _text(value: str) -> Markup:
    return Markup('<span class="text" dir="auto">{}</span>').format(_cut(value.strip(), TEXT))


def _short(value: str) -> str:
    return _cut(value, FACT)


def _cut(value: str, width: int) -> str:
    return value if len(value) <= width else f"{value[:width]}… ({len(value):,} characters)"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _sentence(phrase: str) -> str:
    """Return a phrase with a capital letter and a full stop."""
    return f"{opening(phrase)}{'' if phrase.endswith('.') else '.'}"


def _learning(epochs: Sequence[Epoch]) -> Markup:
    """Return the charts of losses and accuracy per epoch, with the phases behind them."""
    step = -(-len(epochs) // 10)
    ticks = [(epoch.number, str(epoch.number)) for epoch in epochs if (epoch.number - 1) % step == 0]
    x = Axis(epochs[0].number - 0.5, epochs[-1].number + 0.5, ticks, "epoch")
    bands = charts.phases([epoch.phase for epoch in epochs]) if epochs[0].phase else []
    best = min(epochs, key=lambda epoch: epoch.validation_loss).number
    losses = [
        Series("training", [(epoch.number, epoch.train_loss) for epoch in epochs], "c2", dots=True),
        Series(
            "validation, calibrated",
            [(epoch.number, epoch.validation_loss) for epoch in epochs],
            "c1",
            dots=True,
        ),
    ]
    highest = max(y for line in losses for _, y in line.points)
    accuracy = [
        Series("validation", [(epoch.number, epoch.validation_accuracy) for epoch in epochs], "c1", dots=True)
    ]
    mark = (float(best), f"best: epoch {best}")
    y, shares = charts.number_axis("loss", highest), charts.percent_axis("")
    return figure(
        "loss", losses, charts.line_chart("Loss per epoch", losses, x, y, bands, mark, mark_is_high=True)
    ) + figure(
        "accuracy",
        accuracy,
        charts.line_chart("Validation accuracy per epoch", accuracy, x, shares, bands, mark),
    )


def _reliability(found: Calibration) -> Markup:
    """Return the reliability diagram before and after the scaling."""
    lines = [
        Series("perfect", [(0.0, 0.0), (1.0, 1.0)], "quiet"),
        *(
            Series(name, [(x, y) for x, y, _ in bins], style, dots=True, sizes=[texts for *_, texts in bins])
            for name, bins, style in (
                ("before scaling", found.before, "c2"),
                ("after scaling", found.after, "c1"),
            )
        ),
    ]
    axis = charts.percent_axis
    chart = charts.line_chart("Accuracy by confidence", lines, axis("confidence"), axis("accuracy"))
    return figure("accuracy by confidence", lines, chart)


def _threshold(curve: ThresholdCurve) -> Markup:
    """Return the chart of coverage, accuracy and out-of-scope recall by threshold."""
    accuracy = [(x, y) for x, y in zip(curve.thresholds, curve.accuracy, strict=True) if y is not None]
    lines = [
        Series("confident answers", list(zip(curve.thresholds, curve.coverage, strict=True)), "c1"),
        Series("right among these", accuracy, "c2"),
    ]
    if curve.oos_recall:
        found = list(zip(curve.thresholds, curve.oos_recall, strict=True))
        lines.append(Series("out-of-scope recall", found, "c3"))
    bands = [Band(*curve.interval, "", "band other")] if curve.interval else []
    x = charts.percent_axis("confidence threshold", curve.thresholds[0])
    mark = (curve.chosen, f"chosen: {curve.chosen:.3f}")
    chart = charts.line_chart("Shares by threshold", lines, x, charts.percent_axis(""), bands, mark)
    return figure("shares by threshold", lines, chart)


def figure(caption: str, legend: Sequence[Series], chart: Markup) -> Markup:
    """Return a chart with its caption and the colours of its series."""
    keys = Markup("").join(
        Markup('<span class="key {}">{}</span>').format(line.style, line.name) for line in legend
    )
    return Markup('<figure><figcaption>{} <span class="legend">{}</span></figcaption>{}</figure>').format(
        caption, keys, chart
    )
