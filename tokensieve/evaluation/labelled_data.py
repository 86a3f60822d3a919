"""Evaluate an exported model on new labelled texts, for example a month of checked traffic."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokensieve.counted import counted
from tokensieve.data import text_hashes
from tokensieve.data.examples import Examples
from tokensieve.data.label_names import match_labels
from tokensieve.data.raw_data import read_examples
from tokensieve.errors import InputError, excerpt
from tokensieve.evaluation.comparison import MACRO_F1, MICRO_F1, figure_intervals
from tokensieve.evaluation.metrics import Targets
from tokensieve.evaluation.report import report
from tokensieve.inference.decisions import decide
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.settings import Data

CLASSES = ("label", "texts", "precision", "recall", "F1")
LISTED = 10  # unknown labels that a message names

log = logging.getLogger("tokensieve")


def evaluate_file(
    model: Predictor,
    data: Path,
    columns: Data,
    oos: Path | None = None,
    trained: text_hashes.Hashes | None = None,
) -> dict[str, Any]:
    """Return the figures of a model on the labelled texts of a file.

    Labels that look like one of the model's are merged with it if `columns` says so, as in a run.
    `merged_labels` names them, each with the one of the model. `trained_texts` is the number of
    texts that the model was trained or validated on, None if that is unknown. If there are any, a
    warning is logged.

    Args:
        model: The model.
        data: A file with texts and labels.
        columns: The names of its columns.
        oos: A file with texts that belong to no class.
        trained: The hashes of the texts that the model was trained and validated on.

    Raises:
        InputError: If a file cannot be read, if a row of single-label data has no label, or if the
            model knows none of the labels.
    """
    separator = columns.label_separator if model.manifest.thresholds else None
    examples = read_examples(data, columns.text_columns, columns.label_column, separator, columns.codec)
    outside = read_examples(oos, columns.text_columns, None, encoding=columns.codec) if oos else Examples()
    if not model.manifest.thresholds and (examples.multi_label or not all(examples.labels)):
        place = next((i for i, own in enumerate(examples.labels) if len(own) != 1), 0)
        raise InputError(
            f"{data}, {examples.place(place)}: the model gives one label per text, so each row needs "
            "one; add the label, or put texts that belong to no class into another file (--oos)"
        )
    examples, merged = match_labels(examples, model.manifest.labels, columns)
    found = evaluate_examples(model, examples, outside.texts) | {"merged_labels": merged}
    return found | {"trained_texts": _trained_texts(examples, model.manifest, data, trained)}


def evaluate_examples(model: Predictor, examples: Examples, oos: Sequence[str] = ()) -> dict[str, Any]:
    """Return the figures of a model as the evaluation report has them, with intervals of F1.

    Texts with a label that the model does not know are left out. `unknown_labels` has their number
    per label, and `left_out` their number.

    Raises:
        InputError: If no text is left.
    """
    manifest = model.manifest
    unknown = Counter(label for own in examples.labels for label in own if label not in manifest.labels)
    kept = [place for place, own in enumerate(examples.labels) if not set(own) & unknown.keys()]
    if not kept:
        named = ", ".join(excerpt(label) for label in sorted(unknown)[:LISTED]) or "none"
        raise InputError(
            f"no text has labels that the model knows; labels of the data: {named}; labels of the model: "
            f"{', '.join(manifest.labels[:LISTED])}"
        )
    test, targets = examples.take(kept), _targets(examples.take(kept), manifest)
    logits = {"test": model.logits(test.texts)}
    if len(oos):
        logits["oos"] = model.logits(oos)
    figures = report(logits, targets, list(manifest.labels), manifest.rule)
    answers = decide(logits["test"], manifest.rule).labels
    found = (
        figure_intervals(targets > 0, answers)
        if manifest.thresholds
        else figure_intervals(np.asarray(targets, np.int64), answers[:, 0])
    )
    for name, key in ((MACRO_F1, "test_macro_f1"), (MICRO_F1, "test_micro_f1")):
        if name in found:
            # Samples have fewer labels, so the measured macro F1 can lie outside of all of them.
            low, high = found[name]
            figures[f"{key}_interval"] = [min(low, figures[key]), max(high, figures[key])]
    return figures | {
        "texts": len(test),
        "left_out": len(examples) - len(test),
        "unknown_labels": dict(unknown.most_common()),
        "data_hash": manifest.data_hash,
    }


def figure_rows(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each figure. In brackets: the 95% confidence interval."""
    yield "texts", f"{result['texts']:,}"
    if trained := result.get("trained_texts"):
        yield "known texts", f"{trained:,} (used to train or validate the model)"
    if merged := result.get("merged_labels"):
        named = ", ".join(f"{excerpt(old)} as {excerpt(new)}" for old, new in [*merged.items()][:LISTED])
        more = f" and {len(merged) - LISTED} more" if len(merged) > LISTED else ""
        yield "labels read as", f"{named}{more} (data.normalize_labels=true)"
    if result["unknown_labels"]:
        named = ", ".join(
            f"{label} ({count:,})" for label, count in [*result["unknown_labels"].items()][:LISTED]
        )
        more = (
            f" and {len(result['unknown_labels']) - LISTED} more"
            if len(result["unknown_labels"]) > LISTED
            else ""
        )
        yield (
            "left out",
            f"{counted(result['left_out'], 'text')} with labels that the model does not know: {named}{more}",
        )
    for key, name in (
        ("test_accuracy", "accuracy"),
        ("test_exact_match", "exact match"),
        ("test_micro_f1", "micro F1"),
        ("test_macro_f1", "macro F1"),
        ("test_ece", "calibration error"),
    ):
        if key in result:
            low, high = result[f"{key}_interval"]
            yield name, f"{result[key]:.4f} ({low:.3f} to {high:.3f})"
    confident = f"{result['coverage']:.1%} of the texts"
    if result["accepted_accuracy"] is not None:
        confident += f", {result['accepted_accuracy']:.4f} of them right"
    yield "confident answers", confident
    if result["oos_recall"] is not None:
        yield "out-of-scope recall", f"{result['oos_recall']:.1%} of {result['oos_texts']:,} texts"


def class_rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each label, in the columns `CLASSES`, the lowest F1 first.

    Labels without texts are left out.
    """
    rows = sorted(result["per_class"].items(), key=lambda item: (item[1]["f1"], item[0]))
    for label, row in rows:
        if row["support"]:
            scores = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
            yield label, f"{row['support']:,}", *scores


def _trained_texts(
    examples: Examples, manifest: Manifest, data: Path, trained: text_hashes.Hashes | None
) -> int | None:
    """Return how many texts have copies among the trained ones, and log a warning if some have.

    None if the trained texts are unknown.
    """
    if trained is None:
        return None
    read = manifest.text_rule.all_cleaned(examples.texts)
    if count := int(text_hashes.are_among(read, trained).sum()):
        log.warning(
            "%s: the model was trained or validated on %s of %s texts, so the figures are better than on new "
            "texts; use other texts",
            data,
            f"{count:,}",
            f"{len(read):,}",
        )
    return count


def _targets(test: Examples, manifest: Manifest) -> Targets:
    places = {label: place for place, label in enumerate(manifest.labels)}
    if not manifest.thresholds:
        return np.array([places[own[0]] for own in test.labels], np.int64)
    targets = np.zeros((len(test), len(places)))
    for row, own in enumerate(test.labels):
        targets[row, [places[label] for label in own]] = 1.0
    return targets
