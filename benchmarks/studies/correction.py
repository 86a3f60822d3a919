"""Plant wrong labels, correct what the audit lists, and compare the two models.

    python -m benchmarks.studies.correction --data DIR --task banking77 --project DIR

The commands are those of a person: run, answer review.csv, data add --review, run. The answers are
the true labels, in the rows that the audit calls likely label errors. Both versions are measured on
the test file of the task, whose labels are not touched.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import markdown
from benchmarks.command import reports_input_errors

REASON = "likely label error"
HEADER = ("version", "own test accuracy", "test file accuracy", "calibration error", "confident", "right")

Rows = list[tuple[str, str]]


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Play the sitting and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.correction", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of task folders")
    parser.add_argument("--task", default="banking77")
    parser.add_argument("--project", type=Path, required=True, help="folder to make, for project and files")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--texts", type=int, default=45, help="texts per class")
    parser.add_argument("--share", type=float, default=0.08, help="share of the labels that are made wrong")
    options = parser.parse_args(arguments)
    options.project.mkdir(parents=True)
    chance = random.Random(0)
    truth, test = drawn(options.data / options.task, options.classes, options.texts, chance)
    planted = with_wrong_labels(truth, options.share, chance)
    texts, tested, answers = (options.project / name for name in ("texts.csv", "test.csv", "answers.csv"))
    project = options.project / "project"
    write(texts, planted)
    write(tested, test)
    accuracies = [_run(project, "--data", str(texts))]
    review = project / "artifacts" / "audit" / "review.csv"
    answered, wrong = answer(review, answers, truth, planted)
    tokensieve("data", "add", "--project", str(project), "--review", str(answers))
    accuracies.append(_run(project))
    changed = sum(own != true for own, true in zip(planted, truth, strict=True))
    print(f"{len(truth):,} texts, {changed} labels made wrong; {answered} doubted, {wrong} of them wrong\n")
    rows = [row(project, str(number + 1), tested, own) for number, own in enumerate(accuracies)]
    print(markdown.table([HEADER, *rows]))
    return 0


def drawn(folder: Path, classes: int, texts: int, chance: random.Random) -> tuple[Rows, Rows]:
    """Return texts of some classes from train.csv, and all texts of these classes in test.csv."""
    train, test = (_read(folder / f"{part}.csv") for part in ("train", "test"))
    chosen = chance.sample(sorted({label for _, label in train}), classes)
    rows: Rows = []
    for label in chosen:
        rows += chance.sample([row for row in train if row[1] == label], texts)
    chance.shuffle(rows)
    return rows, [row for row in test if row[1] in chosen]


def with_wrong_labels(rows: Rows, share: float, chance: random.Random) -> Rows:
    """Return the rows, a share of them with a random other label."""
    labels, changed = sorted({label for _, label in rows}), list(rows)
    for place in chance.sample(range(len(rows)), round(share * len(rows))):
        text, own = rows[place]
        changed[place] = (text, chance.choice([label for label in labels if label != own]))
    return changed


def answer(review: Path, answers: Path, truth: Rows, planted: Rows) -> tuple[int, int]:
    """Write review.csv with right labels as `answers`. Return how many, and how many were wrong."""
    with review.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    doubted = [row for row in rows if REASON in row["reason"]]
    places = [int(row["row"]) - 1 for row in doubted]
    for row, place in zip(doubted, places, strict=True):
        row["right_label"] = truth[place][1]
    with answers.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(places), sum(truth[place] != planted[place] for place in places)


def row(project: Path, version: str, test: Path, accuracy: float) -> tuple[str, ...]:
    """Return the row of a version: its figures on its own test texts and on the test file."""
    name = f"models:/{project.name}/{version}"
    found = tokensieve("evaluate", "--project", str(project), "--model", name, "--data", str(test), "--json")
    return (
        version,
        f"{accuracy:.1%}",
        f"{found['test_accuracy']:.1%}",
        f"{found['test_ece']:.3f}",
        f"{found['coverage']:.1%}",
        f"{found['accepted_accuracy']:.1%}",
    )


def tokensieve(*arguments: str) -> dict[str, Any]:
    """Run a command, and return the JSON object that it prints, if any."""
    command = (sys.executable, "-m", "tokensieve", *arguments)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return dict(json.loads(done.stdout)) if "--json" in arguments else {}


def write(path: Path, rows: Rows) -> None:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def _run(project: Path, *arguments: str) -> float:
    """Run the pipeline, and return the accuracy of the served build on its own test texts."""
    return float(tokensieve("run", "--project", str(project), "--json", *arguments)["test_accuracy"])


def _read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


if __name__ == "__main__":
    sys.exit(main())
