"""A comparison of traffic with held-out texts, in words, for a terminal or a run's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.monitoring.drift import DriftReport
from tokensieve.counted import counted
from tokensieve.monitoring.drift import LEAST_TEXTS

# A p-value below this, adjusted for all tests, is hardly chance: with a look per hour, that is
# one in a hundred years.
HARDLY_CHANCE = 1e-6
REPORT = "artifacts/drift/report.json"

MEANINGS = {
    "domain": "a classifier tells the texts apart (area under the ROC curve, above 0.5)",
    "labels": "other labels are predicted (population stability index)",
    "uncertain": "share of uncertain predictions",
    "confidence": "confidence (probability of a higher one, from 0.5)",
    "length": "length in tokens (difference of cumulative shares)",
    "fragmented": "words that are unknown or of several tokens (probability of more, from 0.5)",
}


def drift_text(report: DriftReport, words: bool) -> str:
    """Return the report in words. With `words` it has words from the texts of users."""
    return "\n".join([verdict(report), *_details(report, words)])


def verdict(report: DriftReport) -> str:
    """Return the result in one or two sentences."""
    model = f"'{report.model}'" + (f" version {report.version}" if report.version else "")
    if report.found is None:
        return (
            f"{counted(report.waiting, 'text')} since the last window: too few to compare with the held-out "
            f"texts of {model} (--texts, {LEAST_TEXTS} at least)."
        )
    compared = f"{report.found.texts:,} texts from {report.begin} to {report.end}"
    if not report.differs:
        return (
            f"No drift: {compared} are like the {report.found.reference_texts:,} held-out texts of {model}."
        )
    causes = ", ".join(test.name for test in report.found.tests if test.differs)
    differ = f"differ from the held-out texts of {model} ({causes})"
    if report.alarm:
        return f"Drift: {compared} and the window before {differ}. Retrain with new labelled texts."
    if min(test.p for test in report.found.tests if test.differs) < HARDLY_CHANCE:
        return (
            f"{compared} {differ}. This is hardly chance, but may pass: it is drift if the next window "
            "differs too."
        )
    return f"{compared} {differ}. One window may differ by chance; the next one decides."


def tests(report: DriftReport) -> Iterator[tuple[str, str, str, str]]:
    """Yield for each test: whether it differs, its adjusted p-value, its effect and its meaning."""
    for test in report.found.tests if report.found else ():
        yield "differs" if test.differs else "", f"{test.p:.3g}", f"{test.effect:+.3f}", MEANINGS[test.name]


def _details(report: DriftReport, words: bool) -> Iterator[str]:
    if report.found is None:
        return
    for differs, p, effect, meaning in tests(report):
        yield f"  {differs:<8} p {p:<8} {effect:>7}  {meaning}"
    now, before = report.found.expected_accuracy, report.found.reference_expected_accuracy
    interval = f"{now[1]:.1%} to {now[2]:.1%}"
    yield f"  mean confidence {now[0]:.1%} ({interval}); of the held-out texts {before[0]:.1%}"
    if report.differs:
        yield f"  labels that moved: {_shares(report.labels[:5])}"
        if words:
            yield f"  words of the window: {_shares(report.words[:10])}"
        yield "  in brackets: share of the window, share of the held-out texts"
        yield f"  next: read the texts in {REPORT} (unlike). If the model must answer such texts, label some,"
        yield "  add them to the data and train again: tokensieve run --data FILE"


def _shares(rows: Sequence[tuple[str, float, float]]) -> str:
    return ", ".join(f"{name} ({now:.0%}, {before:.0%})" for name, now, before in rows)
