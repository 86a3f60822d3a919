"""Measure how often the gate errs: it refuses an equally good challenger, or passes a worse one.

    python -m benchmarks.studies.gate simulate
    python -m benchmarks.studies.gate retrain --data DIR --task banking77 --projects DIR

`simulate` draws the answers of two models with a known difference in accuracy. `retrain` trains
models with other seeds on drawn texts. Each is the challenger of each other and should pass. Models
trained on shuffled labels challenge them too and should be refused. Both models are compared by
their exported packages on the test file of the task, as in a promotion. Latency and size are left
out. Trained models and compared pairs are kept, so the same command goes on after an interrupt.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.command import reports_input_errors
from benchmarks.training.results import append, read
from benchmarks.training.tasks import task_files
from tasks.artifacts import SplitSizes, save_class_names
from tasks.evaluate import evaluate
from tasks.export import export
from tasks.finetune import finetune
from tasks.mask import mask
from tasks.promotion import gate_rules
from tasks.promotion.gate_report import Row
from tasks.promotion.locked_test import locked_test
from tasks.promotion.scored_version import score
from tasks.vocabulary import vocabulary
from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names
from tokensieve.data.raw_data import read_examples
from tokensieve.data.split import split_examples
from tokensieve.evaluation.comparison import Pair, Verdict, differences, fallen_classes
from tokensieve.files import write_text
from tokensieve.project import Layout
from tokensieve.settings import Settings, render

LOSSES = (0.0, 0.01, 0.02, 0.05)
SETS = ((64, 640), (64, 3200), (150, 1500), (150, 4500))  # classes and test texts
ACCURACY, DIFFERENT = 0.9, 0.08  # of the champion; share of the texts that only one model gets right
PLAIN = 0.1  # the rule that is compared: no class falls by more than this
MARGIN = Settings().gate.margin


@reports_input_errors
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.gate", description="How often the gate errs."
    )
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/gate"))
    parser.add_argument("way", choices=("simulate", "retrain", "table"))
    parser.add_argument("--repeats", type=int, default=200, help="simulated pairs per cell")
    parser.add_argument("--data", type=Path, help="folder of task folders with train.csv and test.csv")
    parser.add_argument("--task", help="name of a folder in --data")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--texts", type=int, default=25, help="training and validation texts per class")
    parser.add_argument("--seeds", type=int, default=8, help="models that differ in the seed alone")
    parser.add_argument("--projects", type=Path, help="folder that keeps the trained models of retrain")
    parser.add_argument("--shuffles", type=int, default=2, help="challengers per share of shuffled labels")
    asked = parser.parse_args()
    file = asked.results / f"{asked.way}.jsonl"
    if asked.way == "simulate":
        for cell in simulated_cells(asked.repeats):
            if cell["cell"] not in read(file):
                append(
                    file,
                    cell | simulate(**{key: cell[key] for key in ("classes", "texts", "loss", "repeats")}),
                )
    if asked.way == "retrain":
        retrain_all(asked, file)
    print(simulated_table(read(asked.results / "simulate.jsonl")))
    print(retrained_table(read(asked.results / "retrain.jsonl")))
    return 0


def simulated_cells(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield what a simulated cell is determined by."""
    for classes, texts in SETS:
        for loss in LOSSES:
            name = f"{classes} classes, {texts} texts, {loss:g} lost"
            yield {"cell": name, "classes": classes, "texts": texts, "loss": loss, "repeats": repeats}


def simulate(classes: int, texts: int, loss: float, repeats: int) -> dict[str, float]:
    """Return how often each rule refuses a challenger that loses `loss` of the accuracy."""
    refused: dict[str, int] = defaultdict(int)
    for seed in range(repeats):
        pair = draw_pair(
            np.random.default_rng([classes, texts, round(1000 * loss), seed]), classes, texts, loss
        )
        found = {
            f"by {name}": one.verdict(MARGIN) == Verdict.WORSE for name, one in differences(pair).items()
        }
        found["by classes"] = bool(fallen_classes(pair, MARGIN, gate_rules.FLOOR))
        found["refused"] = any(found.values())
        found["plain rule"] = largest_fall(pair) > PLAIN
        for name, holds in found.items():
            refused[name] += holds
    return {name: count / repeats for name, count in refused.items()}


def draw_pair(random: np.random.Generator, classes: int, texts: int, loss: float) -> Pair:
    """Return the answers of two models. On the share `DIFFERENT` of the texts, only one is right.

    It is `loss` if that is more.
    """
    targets = random.integers(0, classes, texts)
    different = max(DIFFERENT, loss)
    lost, won = (different + loss) / 2, (different - loss) / 2
    drawn = random.random(texts)
    champion = drawn < ACCURACY
    challenger = (drawn < ACCURACY - lost) | ((drawn >= ACCURACY) & (drawn < ACCURACY + won))
    wrong = (targets + random.integers(1, classes, (2, texts))) % classes
    return Pair(targets, np.where(champion, targets, wrong[0]), np.where(challenger, targets, wrong[1]))


def largest_fall(pair: Pair) -> float:
    """Return by how much the recall of a class falls at most."""
    before, after = pair.correct()
    counts = np.bincount(pair.targets)
    fall = np.bincount(pair.targets, before) - np.bincount(pair.targets, after)
    return float((fall[counts > 0] / counts[counts > 0]).max())


class Kind(NamedTuple):
    """What a trained model is determined by, beside the drawn texts.

    Attributes:
        share: Of the labels that are shuffled.
        where: The parts whose labels are shuffled, "train" or "all".
        seed: Of the division, the shuffling and the training.
    """

    share: float
    where: str
    seed: int

    def __str__(self) -> str:
        return f"{self.share:.0%} shuffled in {self.where}, seed {self.seed}"


def retrain_all(asked: argparse.Namespace, file: Path) -> None:
    """Compare each challenger with each champion: a model on labels as they are."""
    champions = [Kind(0.0, "train", seed) for seed in range(asked.seeds)]
    shuffled_in = ((0.1, "train"), (0.25, "train"), (0.25, "all"))
    worse = [Kind(*how, seed) for how in shuffled_in for seed in range(asked.shuffles)]
    about = f"{asked.task}, {asked.classes} classes of {asked.texts}"
    for challenger in (*champions, *worse):
        for champion in champions:
            cell = f"{about}, {challenger}, against seed {champion.seed}"
            if champion == challenger or cell in read(file):
                continue
            models = [trained(asked, asked.projects / about, kind) for kind in (challenger, champion)]
            rows = compared(*models)
            record = {"cell": cell, "drawn": about, "shuffled": challenger.share, "where": challenger.where}
            record |= {"seed": challenger.seed, "champion": champion.seed}
            record |= {"refused": any(row.refuses for row in rows)}
            record |= {row.rule: [row.value, row.verdict] for row in rows}
            append(file, record)
            print(cell, [row.rule for row in rows if row.refuses] or "passes", file=sys.stderr)


def trained(asked: argparse.Namespace, folder: Path, kind: Kind) -> Layout:
    """Train and export a model in a project of its own in `folder`, unless it is there."""
    settings, layout = settings_of(kind.seed), Layout(folder / str(kind))
    if layout.onnx.exists():
        return layout
    parts = drawn_parts(asked, settings, kind)
    layout.split.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        part.save(layout.split / f"{name}.jsonl")
    SplitSizes(**{name: len(part) for name, part in parts.items()}).save(layout.split)
    save_class_names(layout.split, class_names(parts["train"].labels))
    write_text(layout.params, render(settings))
    layout.raw_pointer.parent.mkdir(parents=True, exist_ok=True)
    write_text(layout.raw_pointer, f"outs:\n- md5: {kind.seed:032x}.dir\n  path: raw\n")
    for stage in (vocabulary, mask, finetune, evaluate, export):
        stage(layout, settings)
    return layout


def settings_of(seed: int) -> Settings:
    """Return settings for few texts and one thread.

    A fifth of the texts is for validation, so nothing is cross-fitted.
    """
    plain = Settings()
    return replace(
        plain,
        data=replace(plain.data, seed=seed),
        split=replace(plain.split, validation=0.2),
        finetune=replace(plain.finetune, threads=1),
        evaluate=replace(plain.evaluate, calibration_folds=0),
        export=replace(plain.export, variants=("fused",)),
    )


def drawn_parts(asked: argparse.Namespace, settings: Settings, kind: Kind) -> dict[str, Examples]:
    """Return the parts of the drawn classes.

    The texts are the same for each seed. The seed divides and shuffles them.
    """
    files = task_files(asked.data, asked.task)
    parts, draw = {name: read_examples(files[name]) for name in ("train", "test")}, random.Random(0)
    labels = class_names(parts["train"].labels)
    chosen = set(draw.sample(labels, min(asked.classes, len(labels))))
    places: dict[str, list[int]] = defaultdict(list)
    for place, own in enumerate(parts["train"].labels):
        places[own[0]].append(place)
    kept = [
        place
        for name in sorted(chosen)
        for place in draw.sample(places[name], min(asked.texts, len(places[name])))
    ]
    test = [place for place, own in enumerate(parts["test"].labels) if own[0] in chosen]
    given = {"train": parts["train"].take(kept), "test": parts["test"].take(test)}
    for name in given if kind.where == "all" else ("train",):
        given[name] = shuffled(given[name], kind.share, random.Random(kind.seed))
    return split_examples(given, settings.split, kind.seed)[0]


def shuffled(examples: Examples, share: float, draw: random.Random) -> Examples:
    """Return the examples with the labels of a share of them dealt among these at random."""
    places = draw.sample(range(len(examples)), round(share * len(examples)))
    labels = list(examples.labels)
    for place, other in zip(places, draw.sample(places, len(places)), strict=True):
        labels[place] = examples.labels[other]
    return replace(examples, labels=labels)


def compared(challenger: Layout, champion: Layout) -> list[Row]:
    """Return the rows of the gate on the challenger's test part, without latency and size."""
    folders = {"1": champion.onnx, "2": challenger.onnx}
    locked, limits = locked_test(challenger, folders), Settings().gate
    test, (before, after) = score(list(folders.values()), locked, 1)
    return [
        gate_rules.compared_texts(locked, test),
        *gate_rules.quality(test, before, after, limits),
        *gate_rules.certainty(test, before, after, limits),
    ]


def simulated_table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the share of refusals per simulated cell, as Markdown."""
    rules = ("refused", "by accuracy", "by macro F1", "by classes", "plain rule")
    lines = [f"| classes | test texts | points lost | {' | '.join(rules)} |", "|---" * (3 + len(rules)) + "|"]
    cells = sorted(records.values(), key=lambda row: (row["classes"], row["texts"], row["loss"]))
    for row in cells:
        shares = " | ".join(f"{row[rule]:.1%}" for rule in rules)
        lines.append(f"| {row['classes']} | {row['texts']:,} | {100 * row['loss']:g} | {shares} |")
    return "\n".join(lines)


def retrained_table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the refusals per task and kind of challenger, and their rules, as Markdown."""
    groups: dict[tuple[str, float, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in records.values():
        groups[row["drawn"], row["shuffled"], row["where"]].append(row)
    lines = ["| data | labels shuffled | in | pairs | refused | rules |", "|---" * 6 + "|"]
    for (drawn, share, where), rows in groups.items():
        counts: dict[str, int] = defaultdict(int)
        for row in rows:
            for rule, cell in row.items():
                if isinstance(cell, list) and cell[1] in (Verdict.WORSE, gate_rules.OVER):
                    counts[rule] += 1
        rules = ", ".join(f"{rule} {count}" for rule, count in counts.items()) or "none"
        refused = sum(row["refused"] for row in rows)
        lines.append(f"| {drawn} | {share:.0%} | {where} | {len(rows)} | {refused} | {rules} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
