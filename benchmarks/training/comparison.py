"""Compute the numbers of the report: means and deviations, ranks, relative costs, a paired test.

Records are grouped by method and task. A group has one record per seed.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t

from benchmarks.training.experiment import FORMAT, score
from benchmarks.training.results import read_all
from tokensieve.errors import InputError
from tokensieve.model.encoder import MINILM

Records = list[dict[str, Any]]
REFERENCE = "end_to_end"
EXACT = 16  # up to so many pairs, all combinations of signs are computed
DRAWS = 100_000


class Loaded(NamedTuple):
    """The records of a folder of results, by what they were tested on.

    Attributes:
        tested: Those on the test sets of the tasks.
        held_out: Those on held-out training texts.
        published: Those on the test sets of the published few-shot samples.
    """

    tested: Records
    held_out: Records
    published: Records


def load(results: Path) -> Loaded:
    """Return the records in the folder `results`.

    Raises:
        InputError: If there is no record on a test set.
    """
    tested, held_out, published = (
        [
            record
            for folder in sorted(results.glob(pattern))
            for record in read_all(folder)
            if record.get("format") == FORMAT and bool(record["held_out"]) == held
        ]
        for pattern, held in (("finetune*/", False), ("held_out/", True), ("published*/", False))
    )
    if not tested:
        raise InputError(
            f"{results} holds no result of this version in finetune*/; make some with python -m "
            "benchmarks.training.run"
        )
    return Loaded(tested, held_out, published)


def encoder_of(record: dict[str, Any]) -> str:
    """Return the name of the record's encoder, without its publisher.

    A method without an encoder, such as TF-IDF, belongs to the tables of the default encoder.
    """
    return str(record["settings"].get("base.model", MINILM)).rpartition("/")[2]


def by_task(records: Records) -> dict[str, dict[str, Records]]:
    """Return the records by method and task."""
    grouped: dict[str, dict[str, Records]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        grouped[record["method"]][record["task"]].append(record)
    return {method: dict(tasks) for method, tasks in grouped.items()}


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation (NaN for a single value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def complete(grouped: dict[str, dict[str, Records]], tasks: Sequence[str]) -> dict[str, dict[str, Records]]:
    """Return the methods that have as many seeds of each task as any method has.

    A seed is a sample, so means over different seeds cannot be compared.
    """
    seeds = max((len(records) for found in grouped.values() for records in found.values()), default=0)
    return {
        method: found
        for method, found in grouped.items()
        if all(len(found.get(task, ())) == seeds for task in tasks)
    }


def ranks(grouped: dict[str, dict[str, Records]], tasks: Sequence[str]) -> dict[str, float]:
    """Return the mean rank of each method over tasks. 1 is the best, and ties share a rank.

    Each method has all tasks.
    """
    means = np.array([[spread(scores(found[task]))[0] for task in tasks] for found in grouped.values()])
    places = {}
    for i, method in enumerate(grouped):
        above, equal = (means > means[i]).sum(0), (means == means[i]).sum(0)
        places[method] = float((above + (equal + 1) / 2).mean())
    return places


def scores(records: Records) -> list[float]:
    """Return the scores of the records: accuracy, or micro F1 for multi-label tasks."""
    return [score(record) for record in records]


def cost(record: dict[str, Any]) -> float:
    """Return the CPU seconds, which depend less on other load; for a GPU the wall seconds."""
    return float(record["wall_seconds"] if record["device"] == "cuda" else record["cpu_seconds"])


def wall(record: dict[str, Any]) -> float:
    """Return the wall seconds."""
    return float(record["wall_seconds"])


def undisturbed(records: Records) -> Records:
    """Return the cells with one thread that had a core to themselves.

    Their wall seconds are at most 1.1 times the CPU seconds.
    """
    alone = [record for record in records if record["device"] == "cpu" and record["machine"]["threads"] == 1]
    return [record for record in alone if wall(record) <= 1.1 * record["cpu_seconds"]]


def relative_costs(
    grouped: dict[str, dict[str, Records]],
    reference: str = REFERENCE,
    seconds: Callable[[dict[str, Any]], float] = cost,
) -> dict[str, float]:
    """Return the cost of each method relative to `reference`, as a geometric mean over tasks.

    Costs are compared for the same task, seed and machine.
    """
    base = {
        conditions(record): seconds(record)
        for records in grouped.get(reference, {}).values()
        for record in records
    }
    found = {}
    for method, tasks in grouped.items():
        ratios = []
        for records in tasks.values():
            paired = [record for record in records if conditions(record) in base]
            if paired:
                ratios.append(sum(map(seconds, paired)) / sum(base[conditions(record)] for record in paired))
        if ratios:
            found[method] = math.exp(float(np.mean(np.log(ratios))))
    return found


def differences(grouped: dict[str, dict[str, Records]], method: str, other: str) -> list[float]:
    """Return the score of `method` minus that of `other`, for each task and seed that both have."""
    pairs = {
        (record["task"], record["seed"]): score(record)
        for records in grouped.get(other, {}).values()
        for record in records
    }
    return [
        score(record) - pairs[record["task"], record["seed"]]
        for records in grouped.get(method, {}).values()
        for record in records
        if (record["task"], record["seed"]) in pairs
    ]


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's interval of the mean of `values` at 95% confidence (NaN for one value)."""
    if len(values) < 2:
        return math.nan, math.nan
    half = float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def sign_flip(gaps: Sequence[float]) -> float:
    """Return the two-sided p-value of the mean gap in a sign-flip test.

    Under the null hypothesis, the sign of each gap is random. All combinations of signs are
    computed if there are at most `EXACT` gaps, otherwise `DRAWS` random ones.
    """
    values = np.asarray(gaps, dtype=float)
    if len(values) <= EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
        return float((np.abs(signs @ values) >= abs(values.sum()) - 1e-12).mean())
    signs = np.random.default_rng(0).choice((1.0, -1.0), (DRAWS, len(values)))
    return float(((np.abs(signs @ values) >= abs(values.sum()) - 1e-12).sum() + 1) / (DRAWS + 1))


def holm(chances: dict[str, float]) -> dict[str, float]:
    """Return the p-values by name, corrected for multiple tests (Holm 1979)."""
    adjusted, highest = {}, 0.0
    for place, name in enumerate(sorted(chances, key=chances.__getitem__)):
        highest = max(highest, min(1.0, chances[name] * (len(chances) - place)))
        adjusted[name] = highest
    return adjusted


def machine_of(record: dict[str, Any]) -> str:
    """Return a description of the machine. Costs are compared only between equal descriptions."""
    facts = record["machine"]
    return f"{facts['gpu'] or facts['cpu']}, CPU threads: {facts['threads']}, torch {facts['torch']}"


def conditions(record: dict[str, Any]) -> tuple[str, int, str]:
    """Return task, seed and machine. Costs are compared only between records that share them."""
    return record["task"], record["seed"], machine_of(record)
