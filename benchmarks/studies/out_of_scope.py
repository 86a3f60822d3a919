"""Compare rules that choose the confidence threshold with the help of a few out-of-scope texts.

    python -m benchmarks.studies.out_of_scope --project . --data DIR

The models are that of the project, and linear classifiers on the vectors of all-MiniLM-L6-v2. The
project must have out-of-scope texts, and must have run the stage evaluate. The linear classifiers
are trained on samples of clinc150, a task folder in DIR.

In each draw, the threshold is chosen on some of the texts and measured on the others. Its worth is
the share of correct predictions that it keeps, minus the share of out-of-scope texts that it
accepts. `worst` is the 5% quantile, over the draws, of the difference to the worth of the threshold
from `coverage` alone.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

from benchmarks.command import reports_input_errors
from tokensieve.data.examples import Examples
from tokensieve.evaluation.metrics import Bools, Float64s
from tokensieve.evaluation.thresholds import STEP, confidence_threshold
from tokensieve.files import read_json
from tokensieve.inference.decisions import softmax
from tokensieve.model.encoder import MINILM, find_base_model, load_encoder, load_tokenizer
from tokensieve.project import Layout

DRAWS = 200
# The numbers of texts on which the threshold is chosen: in scope, out of scope.
SIZES = ((60, 20), (150, 50), (150, 100), (600, 50), (600, 400))
# The linear classifiers: classes, texts per class, seed.
PROBES = ((15, 10, 0), (15, 10, 1), (15, 20, 0), (150, 10, 0), (150, 20, 0))


class Model(NamedTuple):
    """The confidence of a model in texts that it was not trained on.

    `correct` are those of its predictions in scope that are correct.
    """

    name: str
    confidences: Float64s
    correct: Bools
    out_of_scope: Float64s


Rule = Callable[[Float64s, Bools, float, Float64s], float]


def coverage_alone(confidences: Float64s, correct: Bools, coverage: float, out_of_scope: Float64s) -> float:
    """Return the threshold that does not depend on out-of-scope texts."""
    return confidence_threshold(confidences, correct, coverage)


def highest_worth(confidences: Float64s, correct: Bools, coverage: float, out_of_scope: Float64s) -> float:
    """Return the threshold with the highest worth on these texts (Youden 1950).

    At least the share `coverage` of the correct predictions is kept.
    """
    highest, kept = confidence_threshold(confidences, correct, coverage), confidences[correct]
    candidates = np.append(out_of_scope[out_of_scope < highest] + STEP, highest)
    worth = [(out_of_scope < value).mean() + (kept >= value).mean() for value in candidates]
    return float(candidates[int(np.argmax(worth))])


RULES: dict[str, Rule] = {
    "coverage alone": coverage_alone,
    "highest worth": highest_worth,
    "one standard error": confidence_threshold,
}


@reports_input_errors
def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.out_of_scope")
    parser.add_argument("--project", type=Path, help="a project folder whose data have out-of-scope texts")
    parser.add_argument("--data", type=Path, help="folder of task folders, one of them clinc150")
    parser.add_argument("--coverage", type=float, nargs="+", default=[0.95, 0.8])
    options = parser.parse_args()
    models = [] if options.project is None else [of_project(Layout(options.project))]
    models += [] if options.data is None else list(of_clinc(options.data / "clinc150"))
    print("| coverage | model | texts | rule | kept | rejected | worth | worst |")
    print("|---" * 8 + "|")
    for coverage in options.coverage:
        for model in models:
            for sizes in SIZES:
                if sizes[0] < len(model.confidences) * 0.6 and sizes[1] < len(model.out_of_scope) * 0.7:
                    print("\n".join(measured(model, sizes, coverage)))
    return 0


def measured(model: Model, sizes: tuple[int, int], coverage: float) -> Iterator[str]:
    """Yield a row of the table for each rule."""
    found = {name: np.zeros((DRAWS, 2)) for name in RULES}
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        rows, others = np.split(random.permutation(len(model.confidences)), [sizes[0]])
        outside, left = np.split(random.permutation(model.out_of_scope), [sizes[1]])
        for name, rule in RULES.items():
            threshold = rule(model.confidences[rows], model.correct[rows], coverage, outside)
            kept = model.confidences[others][model.correct[others]] >= threshold
            found[name][draw] = kept.mean(), (left < threshold).mean()
    plain = found["coverage alone"].sum(1)
    for name, values in found.items():
        kept, rejected = values.mean(0)
        worst = np.quantile(values.sum(1) - plain, 0.05)
        texts = f"{sizes[0]} + {sizes[1]}"
        yield (
            f"| {coverage} | {model.name} | {texts} | {name} | {kept:.3f} | {rejected:.3f} | "
            f"{kept + rejected - 1:.3f} | {worst:+.3f} |"
        )


def of_project(layout: Layout) -> Model:
    """Return the model of a single-label project, for its validation, test and other texts."""
    logits = load_file(layout.evaluation / "logits.safetensors")
    report, labels = read_json(layout.evaluation / "report.json"), read_json(layout.split / "labels.json")
    probabilities = {name: softmax(values, report["temperature"]) for name, values in logits.items()}
    inside = np.concatenate([probabilities[name] for name in ("validation", "test")])
    parts = [Examples.load(layout.split / f"{name}.jsonl") for name in ("validation", "test")]
    targets = np.array([name for part in parts for names in part.labels for name in names])
    correct = np.array(labels)[inside.argmax(1)] == targets
    return Model(layout.root.resolve().name, inside.max(1), correct, probabilities["oos"].max(1))


def of_clinc(folder: Path) -> Iterator[Model]:
    """Yield linear classifiers of some classes of clinc150, on its validation and test texts."""
    parts = {path.stem: _read(path) for path in sorted(folder.glob("*.csv"))}
    pool = parts["train"]
    outside = _vectors([text for name in parts if name.startswith("oos") for text, _ in parts[name]])
    tested = parts["validation"] + parts["test"]
    vectors, targets = _vectors([text for text, _ in tested]), np.array([label for _, label in tested])
    for classes, texts, seed in PROBES:
        random = np.random.default_rng(seed)
        names = random.choice(np.unique(targets), classes, replace=False)
        rows = [
            random.permutation([i for i, row in enumerate(pool) if row[1] == name])[:texts] for name in names
        ]
        drawn = [pool[int(i)] for i in np.concatenate(rows)]
        probe = LogisticRegression(C=10.0, max_iter=1000)
        probe.fit(_vectors([text for text, _ in drawn]), [label for _, label in drawn])
        asked = np.isin(targets, names)
        probabilities = probe.predict_proba(vectors[asked])
        correct = probe.classes_[probabilities.argmax(1)] == targets[asked]
        name = f"clinc150, {classes} classes, {texts} texts, seed {seed}"
        yield Model(name, probabilities.max(1), correct, probe.predict_proba(outside).max(1))


def _read(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


@torch.inference_mode()
def _vectors(texts: Sequence[str]) -> Float64s:
    """Return the mean token state of each text, scaled to length 1, float64 [texts, width]."""
    folder = find_base_model(MINILM)
    encoder, tokenizer = load_encoder(folder), load_tokenizer(folder)
    found = np.zeros((len(texts), encoder.config.hidden_size))
    order = np.argsort([len(text) for text in texts])
    for rows in np.array_split(order, max(1, len(order) // 64)):
        batch = tokenizer([texts[i] for i in rows], padding=True, return_tensors="pt")
        states, mask = encoder(**batch).last_hidden_state, batch["attention_mask"][..., None]
        found[rows] = torch.nn.functional.normalize((states * mask).sum(1)).numpy()
    return found


if __name__ == "__main__":
    sys.exit(main())
