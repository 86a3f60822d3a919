"""The table of the published few-shot samples: our cells beside the figures of the papers.

The samples are the fixed files of 5 and 10 texts per class that papers on few-shot intent detection
share. So a seed changes only the training, not the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from benchmarks import markdown
from benchmarks.methods import METHODS
from benchmarks.training import comparison
from benchmarks.training.comparison import Records
from benchmarks.training.tables import OURS, chance
from tokensieve.counted import counted

TASKS = ("banking77", "clinc150", "hwu64")
SHOTS = (5, 10)

# Accuracy in percent, as each paper reports it, in the order of `TASKS` with each of `SHOTS`; None
# is not reported.
PAPERS: dict[tuple[str, str], tuple[float | None, ...]] = {
    ("RoBERTa + classifier (Zhang et al., EMNLP 2020)", "125 M"): (None, 84.27, None, 91.55, None, 82.90),
    ("ConvBERT + observers (Mehri and Eric, NAACL 2021)", "110 M"): (None, 85.95, None, 93.97, None, 86.28),
    ("DNNC (Zhang et al., EMNLP 2020)", "125 M"): (80.40, 86.71, 91.02, 93.76, 80.46, 84.72),
    ("CPFT (Zhang et al., EMNLP 2021)", "125 M"): (80.86, 87.20, 92.34, 94.18, 82.03, 87.13),
    ("ICDA, with generated texts (Lin et al., EACL 2023)", "–"): (84.01, 89.79, 92.62, 94.84, 82.45, 87.41),
}

COMPARED = (
    "tokensieve minus each other method, in points, on the samples and seeds that both have, with the "
    "p-value of a two-sided sign-flip test (not corrected)."
)
SIZES = {"all-MiniLM-L6-v2": "22 M", "all-mpnet-base-v2": "110 M"}


def published_table(records: Records) -> str:
    """Return the table as Markdown: a row per method and encoder, then a row per paper.

    Below it, the mean difference to each method on the samples and seeds that both have.
    """
    compared = []
    rows = [["method", "encoder", "parameters", *(f"{task}, {shots}" for task in TASKS for shots in SHOTS)]]
    for encoder, size in SIZES.items():
        mine = [record for record in records if comparison.encoder_of(record) == encoder]
        grouped = comparison.by_task(mine)
        for method in (name for name in METHODS if name in grouped):
            cells = [_cell(grouped[method].get(f"{task}_{n}", [])) for task in TASKS for n in SHOTS]
            rows.append([method, encoder, size, *cells])
        if found := list(_differences(grouped)):
            compared.append(f"{encoder}: {', '.join(found)}.")
    for (paper, size), figures in PAPERS.items():
        rows.append([paper, "–", size, *("–" if value is None else f"{value:.2f}" for value in figures)])
    return "\n\n".join([markdown.table(rows), f"{COMPARED} {' '.join(compared)}" if compared else ""]).strip()


def _differences(grouped: dict[str, dict[str, Records]]) -> Iterator[str]:
    """Yield tokensieve's mean difference to each other method in points, with its p-value."""
    for other in (name for name in METHODS if name in grouped and name != OURS):
        if gaps := comparison.differences(grouped, OURS, other):
            pairs, p_value = counted(len(gaps), "pair"), chance(comparison.sign_flip(gaps))
            yield f"{other} {100 * fmean(gaps):+.2f} ({pairs}, p {p_value})"


def _cell(records: Records) -> str:
    """Return mean ± standard deviation over the seeds, with the number of seeds in brackets."""
    if not records:
        return "–"
    mean, deviation = comparison.spread(comparison.scores(records))
    spread = f" ± {100 * deviation:.2f}" if len(records) > 1 else ""
    return f"{100 * mean:.2f}{spread} ({len(records)})"
