"""Measure ways to fit temperature and confidence threshold on few texts.

    python -m benchmarks.studies.calibration --data DIR --task banking77 --classes 13 --texts 25

For each seed, classes and texts are drawn, and a project of its own is split and trained like with
`tokensieve run`. Temperature and threshold are fitted in several ways. They are measured on all
other texts of these classes, by the calibration error and by the share of the correct predictions
that the threshold keeps. The share should be 0.95.

The ways are: without temperature (`none`); on validation texts, without checks (`before`) and as
the library does (`validation`); on validation and training texts, with logits of the training texts
from cross-fitting (`cross-fitted`); or with logits of a head that is fitted without them (`head`).
The last one is far too confident, because the encoder was trained on these texts.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.command import reports_input_errors
from benchmarks.training.tasks import task_files
from tasks.cross_fit import out_of_fold
from tasks.finetune import finetune
from tasks.mask import mask
from tasks.vocabulary import vocabulary
from tokensieve.data.examples import Examples
from tokensieve.data.folds import assign_folds
from tokensieve.data.labels import class_names, encode_targets
from tokensieve.data.raw_data import read_examples
from tokensieve.data.split import split_examples
from tokensieve.evaluation import metrics
from tokensieve.evaluation.temperature import cautious_temperature, fit_temperature
from tokensieve.evaluation.thresholds import confidence_threshold
from tokensieve.files import write_json
from tokensieve.inference.decisions import softmax
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers, load_tokenizer
from tokensieve.model.state_cache import cache_states
from tokensieve.project import Layout
from tokensieve.settings import Settings, render
from tokensieve.training.loop import compute_logits

COVERAGE = 0.95
Pair = tuple[metrics.Float64s, metrics.Ints]


@reports_input_errors
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.calibration",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of task folders with train.csv and test.csv"
    )
    parser.add_argument("--task", required=True)
    parser.add_argument("--classes", type=int, default=13)
    parser.add_argument("--texts", type=int, default=25, help="texts per class, before the split")
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for way, row in measured(
                asked.data, asked.task, asked.classes, asked.texts, seed, Path(folder)
            ).items():
                found[way].append(row)
                print(
                    json.dumps(
                        {"seed": seed, "way": way} | {key: round(value, 4) for key, value in row.items()}
                    ),
                    file=sys.stderr,
                )
    print(table(found))
    return 0


def measured(
    data: Path, task: str, classes: int, texts: int, seed: int, folder: Path
) -> dict[str, dict[str, float]]:
    """Train once, fit in every way, and return the figures of each on the texts not drawn."""
    settings = Settings()
    settings = replace(
        settings, data=replace(settings.data, seed=seed), finetune=replace(settings.finetune, threads=1)
    )
    layout, others = Layout(folder), _project(data, task, classes, texts, seed, settings, Layout(folder))
    for stage in (vocabulary, mask, finetune):
        stage(layout, settings)
    classifier, tokenizer = Classifier.load(layout.model), load_tokenizer(layout.model)

    def inputs(part: Examples) -> Inputs:
        return Inputs(tokenize(tokenizer, part.texts, settings.base.max_length, settings.base.truncation))

    def pair(part: Examples) -> Pair:
        wanted = np.asarray(
            encode_targets(part.labels, classifier.labels, multi_label=False).numpy(), np.int64
        )
        return compute_logits(classifier, inputs(part)).double().numpy(), wanted

    train, validation = (Examples.load(layout.split / f"{name}.jsonl") for name in ("train", "validation"))
    checked, judged = pair(validation), pair(others)
    more, theirs = out_of_fold(layout, settings, torch.from_numpy(checked[0]).float())
    pooled = cache_states(inputs(train), classifier, len(encoder_layers(classifier.encoder))).states
    assert pooled is not None
    folds = assign_folds(train.texts, train.labels, settings.evaluate.calibration_folds, seed)
    head = _head(pooled.numpy(), theirs.numpy(), folds)
    fits = {
        "none": (1.0, checked, False),
        "before": (fit_temperature(*checked), checked, False),
        "validation": (cautious_temperature(*checked), checked, True),
        "head": (1.0, _joined(checked, (head, theirs.numpy())), True),
    }
    crossed = _joined(checked, (more.double().numpy(), theirs.numpy()))
    fits["cross-fitted"] = (cautious_temperature(*crossed), crossed, True)
    return {way: _worth(*fit, judged) for way, fit in fits.items()}


def table(found: Mapping[str, list[dict[str, float]]]) -> str:
    """Return a Markdown table with one row per way.

    It has the mean over the seeds, the range of the threshold, and the mean distance to `COVERAGE`.
    """
    lines = [
        "| fit | threshold, lowest to highest | temperature | calibration error (worst) | correct kept | off "
        "by |",
        "|---" * 6 + "|",
    ]
    for way, rows in found.items():
        of = {key: [row[key] for row in rows] for key in rows[0]}
        means = {key: statistics.mean(values) for key, values in of.items()}
        off = statistics.mean(abs(value - COVERAGE) for value in of["kept"])
        lines.append(
            f"| {way} | {min(of['threshold']):.3f} to {max(of['threshold']):.3f} | "
            f"{means['temperature']:.2f} | {means['ece']:.4f} ({max(of['ece']):.4f}) | {means['kept']:.1%} | "
            f"{off:.1%} |"
        )
    return "\n".join(lines)


def _project(
    data: Path, task: str, classes: int, texts: int, seed: int, settings: Settings, layout: Layout
) -> Examples:
    """Write the split of a drawn project. Return the texts of its classes that were not drawn."""
    parts = {
        name: read_examples(path)
        for name, path in task_files(data, task).items()
        if name in ("train", "test")
    }
    draw = random.Random(seed)
    names = sorted(set(parts["train"].labels))
    chosen = set(draw.sample(names, min(classes, len(names))))
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, label in enumerate(parts["train"].labels):
        if label in chosen:
            places[label].append(i)
    drawn = {
        i for label in sorted(places) for i in draw.sample(places[label], min(texts, len(places[label])))
    }
    dealt, _ = split_examples({"train": parts["train"].take(sorted(drawn))}, settings.split, seed)
    layout.split.mkdir(parents=True)
    for name, part in dealt.items():
        part.save(layout.split / f"{name}.jsonl")
    write_json(layout.split / "labels.json", class_names(chosen))
    layout.params.write_text(render(settings), encoding="utf-8")
    left = [i for i, label in enumerate(parts["train"].labels) if label in chosen and i not in drawn]
    tested = parts["test"].take([i for i, label in enumerate(parts["test"].labels) if label in chosen])
    rest = parts["train"].take(left)
    return Examples(
        rest.texts + tested.texts, rest.labels + tested.labels, list(range(len(rest) + len(tested)))
    )


def _head(vectors: metrics.Float64s, wanted: metrics.Ints, folds: metrics.Ints) -> metrics.Float64s:
    found = np.zeros((len(vectors), int(wanted.max()) + 1))
    for fold in np.unique(folds):
        model = LogisticRegression(C=10.0, max_iter=500).fit(vectors[folds != fold], wanted[folds != fold])
        found[np.ix_(folds == fold, model.classes_)] = model.decision_function(vectors[folds == fold])
    return found


def _joined(first: Pair, second: Pair) -> Pair:
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])


def _worth(temperature: float, fitted_on: Pair, averaged: bool, judged: Pair) -> dict[str, Any]:
    """Fit the threshold after a temperature, and return the figures of both on the texts `judged`.

    With `averaged`, the threshold is the one of the library, otherwise a sample quantile.
    """
    chances, others = (softmax(pair[0], temperature) for pair in (fitted_on, judged))
    confidences, right = chances.max(1), chances.argmax(1) == fitted_on[1]
    kept = np.sort(confidences[right])
    # The sample quantile is the confidence of one text.
    threshold = (
        confidence_threshold(confidences, right, COVERAGE)
        if averaged
        else float(kept[int((1 - COVERAGE) * len(kept) + 1e-9)])
    )
    is_right = others.argmax(1) == judged[1]
    return {
        "threshold": threshold,
        "temperature": temperature,
        "ece": metrics.calibration_error(metrics.reliability(*judged, temperature)),
        "kept": float((others.max(1) >= threshold)[is_right].mean()),
    }


if __name__ == "__main__":
    sys.exit(main())
