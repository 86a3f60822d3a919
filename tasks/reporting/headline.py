"""The top of the report: the verdict, the most important figures, and the comparison."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.artifacts import Champion, Registration
from tasks.promotion.gate_report import HEAD, GateReport, cells
from tokensieve.report.content import Advice, Fact, Measure, Table

BASELINES = {"tfidf": "linear SVM on TF-IDF", "majority": "most frequent class"}
# What a model is good for, as `evaluation.verdict.Grade` names it.
ASSISTS = "suggests answers"
EVEN = "not better than TF-IDF"


def advice(verdict: Mapping[str, Any] | None, gate: GateReport | None) -> Advice | None:
    """Return the verdict, and the gate's refusal in it. None: the evaluation has no verdict."""
    if not verdict:
        return None
    promote = verdict["advice"]
    if gate and gate.refused:
        reasons = "; ".join(f"{row.rule}: {row.value}, {row.verdict}" for row in gate.reasons)
        promote = f"the gate refuses it ({reasons})"
    refused = bool(gate and gate.refused)
    is_good = verdict["promote"] and not refused
    is_fair = not refused and verdict["grade"] in (ASSISTS, EVEN)
    return Advice(
        is_good=None if is_fair else is_good,
        title=verdict["grade"],
        good_for=verdict["good_for"],
        promote=promote,
        remedies=tuple(verdict["remedies"]),
    )


def is_advised(verdict: Mapping[str, Any] | None, gate: GateReport | None) -> bool:
    """Return whether the verdict, if there is one, and the gate are for a promotion."""
    return (not verdict or bool(verdict["promote"])) and not (gate and gate.refused)


def champion_sentence(registered: Registration, champion: Champion | None, gate: GateReport | None) -> str:
    """Return how the version compares with the champion, in one sentence."""
    if gate and gate.not_compared:
        return f"not compared: {gate.not_compared}"
    if gate:
        return gate.headline().removeprefix("gate: ")
    if champion is None:
        return "there is no champion yet"
    if (champion.name, champion.version) == (registered.name, registered.version):
        return "this version is the champion"
    return f"version {champion.version} is the champion; the gate has not compared the two"


def gate_table(gate: GateReport | None) -> Table | None:
    """Return the gate's rules as a table."""
    return Table(HEAD, tuple(cells(gate)), f"Measured {minute(gate.at)}.") if gate and gate.rows else None


def minute(time: str) -> str:
    """Return an ISO 8601 time (UTC) without its seconds. Another text stays as it is."""
    return f"{time[:10]} {time[11:16]} UTC" if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", time) else time


def figures(
    measured: Mapping[str, Any], race: Mapping[str, Any], served: str, trained: tuple[int, int]
) -> Iterator[Fact]:
    """Yield the figures of the served build.

    Args:
        measured: The evaluation report, with the figures of the served build.
        race: The variants in race.json.
        served: The name of the served variant.
        trained: Trained and all parameters.
    """
    for key, name in (("test_accuracy", "test accuracy"), ("test_exact_match", "exact match")):
        if key in measured:
            low, high = measured.get(f"{key}_interval", (None, None))
            yield Fact(name, f"{measured[key]:.1%}", f"{low:.1%} to {high:.1%}" if low is not None else "")
    name = "test_micro_f1" if "test_micro_f1" in measured else "test_macro_f1"
    if name in measured:
        yield Fact(name.removeprefix("test_").replace("_", " ").replace("f1", "F1"), f"{measured[name]:.1%}")
    if measured.get("accepted_accuracy") is not None:
        right = f"{measured['accepted_accuracy']:.1%} of them right"
        yield Fact("confident answers", f"{measured['coverage']:.1%}", right)
    if measured.get("oos_recall") is not None:
        yield Fact(
            "out-of-scope recall", f"{measured['oos_recall']:.1%}", f"of {measured['oos_texts']:,} texts"
        )
    for row in race["variants"]:
        if row["variant"] == served:
            build = f"{served}, {row['megabytes']:.3g} MB, {race.get('threads', 1)} thread"
            yield Fact("per text", f"{row['milliseconds']:.3g} ms", build)
    own, total = trained
    yield Fact("trained weights", f"{own / total:.1%}", f"{own:,} of {total:,}")


def compared(evaluated: Mapping[str, Any]) -> Iterator[Measure]:
    """Yield the accuracy of the model and of the baselines, on the same test texts."""
    own = "test_accuracy" if "test_accuracy" in evaluated else "test_exact_match"
    if f"{own}_interval" not in evaluated:
        return
    yield Measure("this model", evaluated[own], *evaluated[f"{own}_interval"])
    for key, name in BASELINES.items():
        if baseline := (evaluated.get("baselines") or {}).get(key):
            yield Measure(name, baseline["accuracy"], *baseline["accuracy_interval"])
