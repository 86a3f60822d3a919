"""What a run records of the artifacts: parameters, metrics, the hash of them all. Knows nothing of MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tokensieve.errors import InputError
from tokensieve.export import choose_variant
from tokensieve.files import read_json, sha256
from tokensieve.inference.manifest import NAME
from tokensieve.project import Layout
from tokensieve.settings import Settings

# Of each exported build; race.json has the rest.
RACE = ("milliseconds", "megabytes", "largest_difference", "agreement", "confident_agreement", "accuracy")


def fingerprint(layout: Layout) -> str:
    """A SHA-256 over what the stages made of the data; the served model's files are in it by their hashes in the manifest.

    The data are in it by their hash, not by the validation report: that one compares them with the champion, so each promotion
    would make another model of it.

    Raises:
        InputError: an artifact is missing.
    """
    artifacts = (
        layout.split / "report.json",
        layout.vocabulary / "constructs.json",
        layout.vocabulary / "report.json",
        layout.mask / "mask.safetensors",
        layout.mask / "report.json",
        layout.model / "history.jsonl",
        layout.evaluation / "report.json",
        layout.onnx / NAME,
    )
    whole = hashlib.sha256()
    for path in artifacts:
        if not path.exists():
            raise InputError(f"{path} is missing; run the stages before registration first (dvc repro)")
        whole.update(f"{path.relative_to(layout.root).as_posix()} {sha256(path)}\n".encode())
    return whole.hexdigest()


def parameters(settings: Settings) -> dict[str, str]:
    """Every setting as text by `section.key`, but `register.uri`: it may hold a password, which all readers of a run would see."""
    flat = {
        f"{section}.{key}": value for section, keys in asdict(settings).items() for key, value in keys.items()
    }
    del flat["register.uri"]
    return {key: ", ".join(value) if isinstance(value, tuple) else str(value) for key, value in flat.items()}


def metrics(layout: Layout) -> Iterator[tuple[str, float, int]]:
    """(name, value, step): by epoch from the history, then with step 0 the numbers at the top of the reports."""
    for line in (layout.model / "history.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield from ((key, float(value), row["epoch"]) for key, value in row.items() if key != "epoch")
    finals, race_report = (
        read_json(layout.evaluation / "report.json"),
        read_json(layout.onnx / choose_variant.NAME),
    )
    served = race_report.get("served", {})
    finals |= {f"torch_{key}": finals[key] for key in served if key in finals} | served
    for folder in (layout.mask, layout.vocabulary):
        finals |= {f"{folder.name}_{key}": value for key, value in read_json(folder / "report.json").items()}
    finals |= {f"onnx_{key}": value for key, value in read_json(layout.onnx / NAME)["parity"].items()}
    for row in race_report["variants"]:
        finals |= {f"race_{row['variant']}_{key}": row[key] for key in RACE if key in row}
    yield from ((key, float(value), 0) for key, value in finals.items() if isinstance(value, int | float))


def validation(layout: Layout) -> dict[str, Any]:
    """The validation report without the texts of the rows at fault; row numbers and labels stay."""
    report: dict[str, Any] = read_json(layout.validation / "report.json")
    for check in report["checks"]:
        for row in check["rows"]:
            row.pop("text", None)
    return report
