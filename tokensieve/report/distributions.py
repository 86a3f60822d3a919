"""Draw how many texts each class has and how long the texts are, by part of the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tokensieve.data.token_lengths import length_distribution
from tokensieve.report import charts
from tokensieve.report.charts import Axis, Series
from tokensieve.report.page import figure, short_label

LISTED = 30  # classes
COLUMNS = 20  # of the histogram
STYLES = {"train": "c1", "validation": "c2", "test": "c3", "oos": "quiet"}


@dataclass(frozen=True)
class PartTexts:
    """The labels and lengths of the texts of a part.

    Attributes:
        name: train, validation, test or oos.
        labels: The names of the labels of each text.
        lengths: The number of tokens of each text, or of each text of a sample.
    """

    name: str
    labels: Sequence[Sequence[str]]
    lengths: Sequence[int]


def class_table(parts: Sequence[PartTexts]) -> Markup:
    """Return a table of the largest classes with a bar and the number of texts per part.

    The other classes are one row. Empty if no text has a label.
    """
    counts = {part.name: Counter(name for names in part.labels for name in names) for part in parts}
    counts = {name: found for name, found in counts.items() if found}
    totals = Counter[str]()
    for found in counts.values():
        totals.update(found)
    ordered = sorted(totals, key=lambda name: (-totals[name], name))
    if not ordered:
        return Markup()
    rows = []
    for name in ordered[:LISTED]:
        pieces = [(STYLES[part], found[name]) for part, found in counts.items()]
        bar = charts.stacked_bar(pieces, totals[ordered[0]])
        rows.append(_row(short_label(name) + bar, [n for _, n in pieces]))
    others = ordered[LISTED:]
    if others:
        low, high = totals[others[-1]], totals[others[0]]
        each = f"{low:,} to {high:,}" if low < high else f"{low:,}"
        name = "1 other" if len(others) == 1 else f"{len(others):,} others, {each} each"
        rows.append(_row(name, [sum(found[other] for other in others) for found in counts.values()]))
    heads = [
        Markup('<th scope="col" class="number"><span class="key {}">{}</span></th>').format(
            STYLES[name], name
        )
        for name in counts
    ]
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="Texts per class"><table class="wide">'
        '<thead><tr><th scope="col">Class</th>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(Markup().join(heads), Markup("\n").join(rows))


def length_chart(parts: Sequence[PartTexts], max_length: int) -> Markup:
    """Return a histogram of the numbers of tokens, with a line where texts are truncated.

    The line is left out if nearly all texts are much shorter. The last column has all longer texts.
    Empty if there are no texts.
    """
    lengths = [length for part in parts for length in part.lengths]
    if not lengths:
        return Markup()
    found = length_distribution(lengths)
    shown = max(found["p99"], COLUMNS)
    has_mark = max_length <= 4 * shown
    x = charts.number_axis("tokens per text", max(shown, 1.25 * max_length) if has_mark else shown)
    series = [_series(part, x) for part in parts if part.lengths]
    highest = max(sum(counts) for counts in zip(*(_counts(line) for line in series), strict=True))
    mark = (float(max_length), f"base.max_length {max_length}") if has_mark else None
    title = "Number of texts by their number of tokens"
    chart = charts.histogram(title, series, x, charts.number_axis("", highest), mark)
    return figure("texts by number of tokens", series, chart) + _facts(parts, lengths, max_length, x)


def _row(name: str, counts: Sequence[int]) -> Markup:
    cells = Markup().join(Markup('<td class="number">{:,}</td>').format(n) for n in counts)
    return Markup("<tr><td>{}</td>{}</tr>").format(name, cells)


def _series(part: PartTexts, x: Axis) -> Series:
    """Return the right end of each column, which belongs to it, and the number of its texts."""
    width = round(x.high / COLUMNS)
    counts = Counter(min(COLUMNS, max(1, -(-length // width))) for length in part.lengths)
    return Series(part.name, [(i * width, counts[i]) for i in range(1, COLUMNS + 1)], STYLES[part.name])


def _counts(line: Series) -> list[float]:
    return [count for _, count in line.points]


def _facts(parts: Sequence[PartTexts], lengths: Sequence[int], max_length: int, x: Axis) -> Markup:
    found, texts = length_distribution(lengths), sum(len(part.labels) for part in parts)
    cut = sum(length > max_length for length in lengths)
    beyond = sum(length > x.high for length in lengths)
    facts = [
        f"Median {found['median']:,} tokens, 90% of the texts up to {found['p90']:,}, the longest "
        f"{found['longest']:,}, with special tokens.",
        f"{cut:,} of {len(lengths):,} texts ({cut / len(lengths):.1%}) are longer than base.max_length "
        f"({max_length:,})."
        if cut
        else f"No text is longer than base.max_length ({max_length:,}).",
    ]
    if beyond:
        facts.append(f"The last column also has the texts of more than {x.high:,.0f} tokens ({beyond:,}).")
    if len(lengths) < texts:
        facts.append(f"The tokens of a sample of the {texts:,} texts were counted.")
    return Markup('<p class="note">{}</p>').format(" ".join(facts))
