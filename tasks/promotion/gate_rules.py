"""The rules of the gate: each compares champion and challenger in one row of the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.promotion.gate_report import Row
from tasks.promotion.locked_test import LockedTest
from tasks.promotion.scored_version import ScoredVersion, pair_of
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.evaluation.behaviour import check_labels, failed_kinds, kind_counts, read_cases, run_cases
from tokensieve.evaluation.comparison import (
    ACCURACY,
    ALONE,
    EXACT_MATCH,
    HOLM,
    Pair,
    Verdict,
    calibration_difference,
    differences,
    fallen_classes,
)
from tokensieve.evaluation.intervals import mcnemar_p_value
from tokensieve.evaluation.metrics import Bools
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.settings import Gate

FLOOR = 0.5  # a class that loses this share is refused without Holm's correction
LISTED = 5  # labels that a cell names
CHANCE = 0.025  # one-sided p-value from which a fall counts as chance, as the 95% intervals do
WITHIN, OVER = "within the limit", "over the limit"


def compared_texts(locked: LockedTest, test: Examples) -> Row:
    """Return the row on the texts: how many are tested, and how many are left out and why."""
    texts = [f"{len(test):,} test texts"]
    texts += [f"{len(locked.oos):,} out of scope"] if len(locked.oos) else []
    left_out = {
        "that one of them was trained on": locked.trained,
        "with labels that one of them lacks": len(locked.test) - len(test),
    }
    texts += [f"left out: {count:,} {which}" for which, count in left_out.items() if count]
    texts += [
        f"version {version} keeps no list of its training texts, so it may know some of these"
        for version in locked.unknown
    ]
    return Row("texts", "; ".join(texts), "", "may favour it" if locked.unknown else "same for both")


def quality(test: Examples, champion: ScoredVersion, challenger: ScoredVersion, limits: Gate) -> list[Row]:
    """Return the rows on accuracy, F1 and the classes."""
    pair, labels = pair_of(test, champion, challenger)
    found, rows = differences(pair), []
    for name, difference in found.items():
        verdict = difference.verdict(limits.margin)
        interval = f"95% interval {_points(difference.low)} to {_points(difference.high)}"
        value = f"{difference.champion:.4f} to {difference.challenger:.4f}"
        rows.append(
            Row(
                name,
                f"{value} ({_points(difference.value)} points, {interval})",
                f"interval above {_points(-limits.margin)} points",
                verdict.value,
                verdict == Verdict.WORSE,
            )
        )
    if limits.min_gain:
        gain = found[EXACT_MATCH if pair.multi_label else ACCURACY].value
        is_enough = gain >= limits.min_gain - 1e-12
        limit = f"at least {_points(limits.min_gain)} points (gate.min_gain)"
        rows.append(
            Row(
                "gain",
                f"{_points(gain)} points",
                limit,
                "reached" if is_enough else "too small",
                not is_enough,
            )
        )
    return [*rows, _classes(pair, labels, limits)]


def _classes(pair: Pair, labels: Sequence[str], limits: Gate) -> Row:
    fallen = fallen_classes(pair, limits.margin, FLOOR)
    named = [
        f"{labels[one.label]} {_points(-one.share)} points ({one.lost} of {one.texts} lost, {one.won} won)"
        for one in fallen[:LISTED]
    ]
    more = [f"and {len(fallen) - LISTED} more"] if len(fallen) > LISTED else []
    return Row(
        "classes",
        "; ".join(named + more) or "none falls beyond chance",
        f"p above {HOLM:.0%} (McNemar, Holm), from {FLOOR:.0%} of a class on above {ALONE:.0%}",
        Verdict.WORSE.value if fallen else Verdict.SAME.value,
        bool(fallen),
    )


def certainty(
    test: Examples, champion: ScoredVersion, challenger: ScoredVersion, limits: Gate
) -> Iterator[Row]:
    """Yield the rows on calibration, confident answers and the detection of texts out of scope."""
    rise = calibration_difference(champion.gaps(test), challenger.gaps(test), len(test))
    is_over = rise.value > limits.max_calibration_rise and rise.low > 0
    yield Row(
        "calibration error",
        f"{rise.champion:.4f} to {rise.challenger:.4f}",
        f"{_points(limits.max_calibration_rise)} points",
        OVER if is_over else WITHIN,
        is_over,
    )
    confident = [one.decisions.confident for one in (champion, challenger)]
    yield _share("confident answers", confident[0], confident[1], limits.max_confident_fall)
    if len(champion.oos_logits):
        detected = champion.detected, challenger.detected
        yield _share("out-of-scope recall", *detected, limits.max_oos_recall_fall)


def _share(rule: str, before: Bools, after: Bools, limit: float) -> Row:
    """Return the row on a share of the same texts.

    A fall over the limit may be chance (exact McNemar).
    """
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    is_over = (lost - won) / len(before) > limit and mcnemar_p_value(lost, won) < CHANCE
    value = f"{before.mean():.1%} to {after.mean():.1%}"
    return Row(rule, value, f"{_points(-limit)} points", OVER if is_over else WITHIN, is_over)


def cost(champion: ScoredVersion, challenger: ScoredVersion, limits: Gate) -> Iterator[Row]:
    """Yield the rows on latency and size."""
    for rule, before, after, unit, limit in (
        ("latency", champion.milliseconds, challenger.milliseconds, "ms per text", limits.max_latency_ratio),
        ("size", champion.megabytes, challenger.megabytes, "MB", limits.max_size_ratio),
    ):
        ratio = after / before if before else 1.0
        value = f"{before:.2f} to {after:.2f} {unit} (x {ratio:.2f})"
        yield Row(rule, value, f"x {limit:g}", OVER if ratio > limit else WITHIN, ratio > limit)


def changed_labels(champion: Manifest, challenger: Manifest) -> Row:
    """Return the row that names the labels that are new or have vanished. It never refuses."""
    before, after = set(champion.labels), set(challenger.labels)
    changes = {"new": sorted(after - before), "vanished": sorted(before - after)}
    value = "; ".join(f"{kind}: {_named(labels)}" for kind, labels in changes.items() if labels)
    return Row("labels", value or f"the same {len(after)}", "", "changed" if value else "unchanged")


def minimum_accuracy(test: Examples, challenger: Predictor, limit: float) -> Row:
    """Return the row on the accuracy of the challenger alone. Without texts, it refuses.

    A text with a label that the challenger lacks counts as wrong.
    """
    rule, needed = "minimum accuracy", f"at least {limit:.4f} (gate.min_accuracy)"
    if not len(test):
        return Row(rule, "no test texts here that it was not trained on", needed, "cannot be tested", True)
    found = _predicted(challenger, test.texts)
    right = sum(own == tuple(sorted(labels)) for own, labels in zip(found, test.labels, strict=True))
    is_below = right / len(test) < limit
    value = f"{right / len(test):.4f} ({right:,} of {len(test):,} test texts)"
    return Row(rule, value, needed, "too low" if is_below else "reached", is_below)


def behaviour(path: Path, challenger: Predictor) -> Row:
    """Return the row on the behaviour tests in `path`, as in `tokensieve check --cases`."""
    limit = f"min_share of {path.name}"
    try:
        cases = read_cases(path)
        check_labels(cases, challenger.manifest.labels)
    except InputError as error:
        return Row("behaviour", str(error), limit, "cannot be tested", True)

    outcomes = run_cases(cases.cases, lambda texts: _predicted(challenger, texts))
    failed = failed_kinds(cases, outcomes)
    counts = [f"{kind} {passed} of {count}" for kind, (passed, count) in kind_counts(outcomes).items()]
    verdict = f"failed: {', '.join(failed)}" if failed else "passed"
    return Row("behaviour", ", ".join(counts), limit, verdict, bool(failed))


def data_checks(validation: dict[str, Any]) -> Row:
    """Return the row on the validation report of the data that the challenger was trained on."""
    errors, warnings = int(validation.get("errors", 0)), int(validation.get("warnings", 0))
    failed = [check["name"] for check in validation.get("checks", ()) if not check["passed"]]
    value = f"{errors} errors, {warnings} warning{'' if warnings == 1 else 's'}" + (
        f" ({_named(sorted(set(failed)))})" if failed else ""
    )
    verdict = "failed" if errors else "clean" if not warnings else "passed with warnings"
    return Row("data checks", value, "0 errors", verdict, errors > 0)


def _predicted(model: Predictor, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the predicted labels of each text, in order."""
    return [tuple(sorted(label for label, _ in found.labels)) for found in model.predict(texts)]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _points(share: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.1f}"
