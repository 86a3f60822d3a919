"""The metrics of a run in MLflow, in groups: MLflow's pages show a section per prefix."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.durations import last_seconds
from tokensieve.files import read_json
from tokensieve.inference.manifest import NAME as MANIFEST
from tokensieve.project import Layout

Point = tuple[str, float, int]  # name, value, step

# Of each exported build. The rest is in race.json.
RACE = ("milliseconds", "megabytes", "largest_difference", "agreement", "confident_agreement", "accuracy")
# How the thresholds were fitted, and no results.
DECISION = ("temperature", "threshold", "margin", "calibration_texts", "calibration_oos_texts")
LATER = ("register", "gate", "report")  # their seconds are still of the run before
MAX_CLASSES = 200  # with a metric of their own; the table of the classes has all
CLASS_COLUMNS = ("precision", "recall", "f1", "support")
NOT_ALLOWED = re.compile(r"[^\w.\- ]")  # by MLflow in a name; / would begin a group
MAX_NAME = 200  # characters of a label in a name; MLflow allows 250 for the whole name


def metrics(layout: Layout) -> Iterator[Point]:
    """Yield name, value and step of each metric, named GROUP/NAME.

    The steps of the training history are its epochs. Numbers of the reports have step 0.
    """
    yield from _training(layout)
    evaluated = read_json(layout.evaluation / "report.json")
    race = read_json(layout.race)
    served = race.get("served", {})
    yield from _numbers("", {_test_name(key): value for key, value in (evaluated | served).items()})
    # Earlier versions did not measure the served build.
    pytorch = {key.removeprefix("test_"): evaluated[key] for key in served if key in evaluated}
    yield from _numbers("pytorch/", {key: value for key, value in pytorch.items() if key not in DECISION})
    yield from class_metrics((evaluated | served).get("per_class", {}))
    for name, baseline in evaluated.get("baselines", {}).items():
        figures = {f"{name}_{key}": (baseline or {}).get(key) for key in ("accuracy", "macro_f1")}
        yield from _numbers("baseline/", figures)
    for folder in (layout.mask, layout.vocabulary):
        yield from _numbers(f"{folder.name}/", read_json(folder / "report.json"))
    yield from _numbers("export/", read_json(layout.onnx / MANIFEST)["parity"])
    for row in race["variants"]:
        yield from _numbers(f"export/{row['variant']}/", {key: row.get(key) for key in RACE})
    seconds = last_seconds(layout.seconds)
    yield from _numbers("seconds/", {name: seconds[name] for name in seconds if name not in LATER})


def class_metrics(per_class: Mapping[str, Mapping[str, float]]) -> Iterator[Point]:
    """Yield the F1 of each class as class/f1/LABEL, of at most `MAX_CLASSES` classes.

    Characters that MLflow does not allow in a name are replaced by _.
    """
    named: dict[str, float] = {}
    for label, figures in list(per_class.items())[:MAX_CLASSES]:
        plain = NOT_ALLOWED.sub("_", label)[:MAX_NAME].strip(" .") or "_"
        name, number = plain, 1
        while name in named:  # "a?" and "a!" are different labels
            number += 1
            name = f"{plain} {number}"
        named[name] = figures["f1"]
    yield from _numbers("class/f1/", named)


def class_table(per_class: Mapping[str, Mapping[str, float]]) -> dict[str, list[Any]]:
    """Return the columns of the table of the classes, the lowest F1 first."""
    rows = sorted(per_class.items(), key=lambda row: (row[1]["f1"], row[0]))
    columns: dict[str, list[Any]] = {"label": [label for label, _ in rows]}
    for key in CLASS_COLUMNS:
        columns["test texts" if key == "support" else key] = [
            _rounded(figures.get(key)) for _, figures in rows
        ]
    return columns


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if isinstance(value, float) else value


def _training(layout: Layout) -> Iterator[Point]:
    for line in (layout.model / "history.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for key, value in row.items():
            if key != "epoch":
                yield f"training/{key}", float(value), row["epoch"]


def _test_name(key: str) -> str:
    return f"decision/{key}" if key in DECISION else f"test/{key.removeprefix('test_')}"


def _numbers(prefix: str, values: Mapping[str, Any]) -> Iterator[Point]:
    for key, value in values.items():
        if isinstance(value, int | float):
            yield prefix + key, float(value), 0
