"""Draw the two charts of the README as SVG, from the generated tables of
docs/explanation/evidence.md and docs/explanation/serving-measurements.md.

    python docs/pictures.py

The colours follow the reader's light or dark mode. A test checks that the stored charts are
current.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
PAGES = [FOLDER / "explanation" / name for name in ("evidence.md", "serving-measurements.md")]
NAMES = {
    "end_to_end": "full fine-tuning",
    "lora": "LoRA",
    "prefix": "prefix tuning",
    "frozen": "frozen encoder",
    "tfidf_svm": "TF-IDF + SVM",
    "mlflow models serve": "MLflow",
    "infinity-emb, no head": "infinity-emb",
}
OURS = "tokensieve"
NO_VALUE = "–"
WIDTH, HEIGHT = 440, 250
STYLE = """<style>
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:14px}.small{font-size:11.5px;fill:#59636e}.ours{font-weight:600}
.mark{fill:#8c959f}.mark.ours{fill:#0969da}text.ours{fill:#0969da}.grid{stroke:#d1d9e0;stroke-width:1}
.back{fill:#fff}
@media(prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#f0f6fc}.small{fill:#9198a1}.mark{fill:#7d8590}
.mark.ours,text.ours{fill:#4493f8}.grid{stroke:#3d444d}}
</style>"""

# Text stays readable if a page is dark and the reader's system is not.
BACK = '<rect class="back" width="100%" height="100%" rx="6"/>'


def tables() -> dict[str, list[dict[str, str]]]:
    """Return the tables of both pages: the rows by column, under the line before the table
    or its first heading.
    """
    found: dict[str, list[dict[str, str]]] = {}
    title, columns = "", []
    lines = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else []
        if line.startswith("**"):
            title = line.strip("*")
        if not cells:
            columns = []
        elif not columns:
            columns = cells
            title = cells[0] if cells[0] != "method" else title
            found[title] = []
        elif not line.startswith("|---"):
            found[title].append(dict(zip(columns, cells, strict=True)))
    return found


def cost_chart(rows: list[dict[str, str]]) -> str:
    """Return a chart of methods: cost to the right, mean score upwards.

    A method that the table has no cost or no mean for is left out.
    """
    points = {
        row["method"]: (float(row["cost"]), row["mean"])
        for row in rows
        if NO_VALUE not in (row["cost"], row["mean"])
    }
    left, right, top, bottom = 36, WIDTH - 28, 34, HEIGHT - 38

    def x(cost: float) -> float:
        return left + (right - left) * cost

    def y(score: float) -> float:
        return bottom - (bottom - top) * (score - 74) / 14

    parts = ['<text class="title" x="8" y="18">Score (%) against training cost</text>']
    for score in (75, 80, 85):
        parts.append(_line(left, y(score), right, y(score)))
        parts.append(_text(f"{score}", left - 8, y(score) + 4, "end", "small"))
    for cost in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_line(x(cost), top, x(cost), bottom))
        parts.append(_text(f"{cost:g}", x(cost), bottom + 16, "middle", "small"))
    about = "CPU time of training, full fine-tuning = 1"
    parts.append(_text(about, (left + right) / 2, HEIGHT - 6, "middle", "small"))
    above, below, beside = (0, -11, "middle"), (20, 20, "end"), (10, 4, "start")
    places = {OURS: above, "lora": (8, -11, "end"), "end_to_end": below, "prefix": (-9, 4, "end")}
    for method, (cost, mean) in sorted(points.items(), key=lambda point: point[0] == OURS):
        ours = "ours" if method == OURS else ""
        dx, dy, anchor = places.get(method, beside)
        at = f'cx="{x(cost):.1f}" cy="{y(float(mean)):.1f}"'
        parts.append(f'<circle class="mark {ours}" {at} r="{6 if ours else 5}"/>')
        name = f"{NAMES.get(method, method)} {mean}"
        parts.append(_text(name, x(cost) + dx, y(float(mean)) + dy, anchor, ours or "small"))
    return _svg(parts, "Score against training cost at 10 texts per class")


def throughput_chart(rows: list[dict[str, str]]) -> str:
    """Return a chart of servers: a bar for the texts per second at 32 clients, with the p99 latency
    beside it.
    """
    column = next(name for name in rows[0] if name.startswith("texts/s") and name.endswith("at 32"))
    found = {row["over HTTP"]: [float(part) for part in row[column].split(", ")] for row in rows}
    left, right, top, step = 96, WIDTH - 150, 36, 40
    most = max(rate for rate, _ in found.values())
    parts = ['<text class="title" x="8" y="18">Texts per second at 32 clients, two cores</text>']
    for place, (name, (rate, p99)) in enumerate(sorted(found.items(), key=lambda item: -item[1][0])):
        ours, y = ("ours" if name == OURS else ""), top + place * step
        width = (right - left) * rate / most
        parts.append(_text(NAMES.get(name, name), left - 8, y + 19, "end", ours))
        parts.append(f'<rect class="mark {ours}" x="{left}" y="{y}" width="{width:.0f}" height="28" rx="3"/>')
        value = f'{rate:.0f} <tspan class="small">p99 {p99:.0f} ms</tspan>'
        parts.append(_text(value, left + width + 8, y + 19, "start", ours))
    return _svg(parts, "Texts per second at 32 clients")


def _text(text: str, x: float, y: float, anchor: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(parts: list[str], title: str) -> str:
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<title>{title}</title>\n{STYLE}\n'
        f"{BACK}\n{body}\n</svg>\n"
    )


def charts() -> Mapping[str, str]:
    """Return the content of each chart by its file name in docs/_static."""
    found = tables()
    methods = next(rows for title, rows in found.items() if re.fullmatch(r"10 texts per class", title))
    return {
        "score-cost.svg": cost_chart(methods),
        "throughput.svg": throughput_chart(found["over HTTP"]),
    }


if __name__ == "__main__":
    for name, text in charts().items():
        (FOLDER / "_static" / name).write_text(text, encoding="utf-8")
