"""Compare the traffic since the last run with the champion's held-out texts. Keep the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.monitoring.traffic import Window, read_window
from tasks.promotion.move_champion import CHAMPION
from tasks.split import load_part
from tasks.tracking.registered_files import open_reader
from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none, write_json, write_text
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.words import count_words, ngrams
from tokensieve.method.constructs import rank_constructs
from tokensieve.monitoring.drift import LEAST_TEXTS, Drift, find_drift, is_alarm
from tokensieve.monitoring.observations import Observations, observe
from tokensieve.project import Layout
from tokensieve.registry.models import fetch_version
from tokensieve.registry.project_identity import identity
from tokensieve.registry.store import tracking_uri
from tokensieve.settings import Settings

HELD_OUT = ("validation", "test")  # the parts that no model of the project trains on
MOST_WORDS, MOST_LABELS, MOST_TEXTS = 20, 10, 20


@dataclass(frozen=True)
class DriftReport:
    """The comparison of one window of traffic with the held-out texts.

    Attributes:
        model: The name or folder of the model.
        version: Its version in the registry; empty if it is not of the registry, or if there are no
            new texts.
        begin, end: The times of the window's first and last answer.
        waiting: How many texts there are since the last window, if they are too few to compare; the
            fields below are empty then.
        alarm: Whether this window and the one before it differ.
        differs: Whether this window differs.
        found: The tests, the numbers of texts and the expected accuracy (`Drift`).
        words: Words and phrases that tell the window from the reference: text, share of the
            window's texts, share of the reference's.
        labels: The labels whose share moved most: label, share of the window, share of the
            reference.
        unlike: Texts of the window that are least like the reference.
    """

    model: str
    version: str
    begin: str
    end: str
    waiting: int = 0
    alarm: bool = False
    differs: bool = False
    found: Drift | None = None
    words: tuple[tuple[str, float, float], ...] = ()
    labels: tuple[tuple[str, float, float], ...] = ()
    unlike: tuple[str, ...] = ()


def look_for_drift(layout: Layout, settings: Settings, log: Path, texts: int) -> DriftReport:
    """Compare the texts in the server's log `log` since the last look with held-out texts.

    The report and its gauges are written to artifacts/drift.

    Args:
        layout: The project.
        settings: They name the registry and the seed.
        log: The file that `tokensieve serve --log-texts` writes.
        texts: The least number of texts to compare.

    Raises:
        InputError: If the log cannot be read, or there is no model, or too few held-out texts.
        RegistryError: If the registry does not respond and the champion was not downloaded before.
    """
    history = _history(layout)
    window = read_window(log, history[-1]["end"] if history else "")
    if not window.texts:  # before the first promotion there is no model either
        return DriftReport(identity(layout, settings).model, "", "", "")
    name, version, folder = _model(layout, settings)
    if len(window.texts) < max(texts, LEAST_TEXTS):
        return DriftReport(name, version, window.begin, window.end, waiting=len(window.texts))
    reference = [text for part in HELD_OUT for text in load_part(layout, part).texts]
    if len(reference) < LEAST_TEXTS:
        raise InputError(
            f"the project has {len(reference)} held-out texts (validation and test); "
            f"at least {LEAST_TEXTS} are needed: add data, or run tokensieve run first"
        )
    known, seen = observe(folder, reference), observe(folder, window.texts)
    found = find_drift(known, seen, settings.data.seed)
    report = DriftReport(
        name,
        version,
        window.begin,
        window.end,
        # Windows of an earlier champion do not count.
        alarm=is_alarm([*(row["differs"] for row in history if row["model"] == version), found.differs]),
        differs=found.differs,
        found=found,
        words=_words(reference, window.texts),
        labels=_labels(known, seen, Manifest.load(folder).labels),
        unlike=_unlike(found, window),
    )
    _keep(layout, report)
    return report


def gauges(report: DriftReport) -> str:
    """Return the report in Prometheus' text format, for the node exporter's textfile collector."""
    lines = [
        "# HELP tokensieve_drift_alarm Whether the last two windows of traffic differ from held-out texts.",
        "# TYPE tokensieve_drift_alarm gauge",
        f"tokensieve_drift_alarm {int(report.alarm)}",
    ]
    if report.found:
        expected = report.found.expected_accuracy[0]
        lines += [
            "# HELP tokensieve_drift_expected_accuracy Mean calibrated confidence of the window.",
            "# TYPE tokensieve_drift_expected_accuracy gauge",
            f"tokensieve_drift_expected_accuracy {expected:.6g}",
            "# HELP tokensieve_drift_texts Texts of the window that were compared.",
            "# TYPE tokensieve_drift_texts gauge",
            f"tokensieve_drift_texts {report.found.texts}",
            "# HELP tokensieve_drift_p Adjusted p-value of each test.",
            "# TYPE tokensieve_drift_p gauge",
            *(f'tokensieve_drift_p{{test="{test.name}"}} {test.p:.6g}' for test in report.found.tests),
            "# HELP tokensieve_drift_effect Size of the difference in each test's unit.",
            "# TYPE tokensieve_drift_effect gauge",
            *(
                f'tokensieve_drift_effect{{test="{test.name}"}} {test.effect:.6g}'
                for test in report.found.tests
            ),
        ]
    return "\n".join(lines) + "\n"


def _model(layout: Layout, settings: Settings) -> tuple[str, str, Path]:
    """Return name, version and folder of the champion, or else of the project's exported model."""
    name = identity(layout, settings).model
    reader = open_reader(tracking_uri(layout, settings), layout.served)
    version = ((reader and reader.aliases(name)) or {}).get(CHAMPION, "")
    if version:
        return name, version, fetch_version(f"models:/{name}/{version}", layout.root)
    if not layout.onnx.is_dir():
        raise InputError(
            f"{layout.root} has neither a champion nor an exported model; run tokensieve run first"
        )
    return name, "", layout.onnx


def _words(reference: Sequence[str], window: Sequence[str]) -> tuple[tuple[str, float, float], ...]:
    """Return the constructs that distinguish the window best from the reference, with shares."""
    texts = [*reference, *window]
    samples = [("reference",)] * len(reference) + [("window",)] * len(window)
    found = [
        construct
        for construct in rank_constructs(texts, samples, most=5 * MOST_WORDS, longest=2)
        if construct.label == "window"
    ]
    rows = []
    for construct in found[:MOST_WORDS]:
        held = sum(_holds(text, construct.text) for text in window)
        rows.append((construct.text, held / len(window), (construct.texts - held) / len(reference)))
    return tuple(rows)


def _holds(text: str, construct: str) -> bool:
    return any(span == construct for span, _, _ in ngrams(text, count_words(construct)))


def _labels(
    known: Observations, seen: Observations, names: Sequence[str]
) -> tuple[tuple[str, float, float], ...]:
    """Return the labels whose share of the predictions moved most, with both shares."""
    before, now = (Counter(sample.labels.tolist()) for sample in (known, seen))
    shares = [(name, now[i] / len(seen), before[i] / len(known)) for i, name in enumerate(names)]
    return tuple(sorted(shares, key=lambda row: -abs(row[1] - row[2]))[:MOST_LABELS])


def _unlike(found: Drift, window: Window) -> tuple[str, ...]:
    order = np.argsort(-np.array(found.scores), kind="stable")
    return tuple(dict.fromkeys(window.texts[found.rows[place]] for place in order))[:MOST_TEXTS]


def _history(layout: Layout) -> list[dict[str, Any]]:
    """Return end and verdict of the windows so far, oldest first."""
    kept = read_json_or_none(layout.drift / "windows.json")
    return kept if isinstance(kept, list) else []


def _keep(layout: Layout, report: DriftReport) -> None:
    """Write the report, the gauges, and last the end of the window.

    If the process dies before the end is written, the comparison is repeated.
    """
    layout.drift.mkdir(parents=True, exist_ok=True)
    tree = asdict(report)
    if report.found:
        del tree["found"]["scores"], tree["found"]["rows"]
        for row, test in zip(tree["found"]["tests"], report.found.tests, strict=True):
            row["differs"] = test.differs
    write_json(layout.drift / "report.json", tree)
    write_text(layout.drift / "drift.prom", gauges(report))
    row = {"end": report.end, "differs": report.differs, "alarm": report.alarm, "model": report.version}
    write_json(layout.drift / "windows.json", [*_history(layout), row])
