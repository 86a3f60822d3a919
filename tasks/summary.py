"""The summary of a run: read from what the stages wrote, so that it is the same whichever stages ran."""

from __future__ import annotations

from typing import Any

from tasks.registration import confirmed
from tokensieve import race
from tokensieve.folder import read_json
from tokensieve.layout import Layout
from tokensieve.manifest import Manifest
from tokensieve.settings import Settings


def summary(layout: Layout, settings: Settings, seconds: dict[str, float | None]) -> dict[str, Any]:
    """One JSON object; `seconds` holds what each stage took, None for those skipped.

    Raises:
        InputError: If the registry does not have the version that it names.
    """
    mask, evaluation = read_json(layout.mask / "report.json"), read_json(layout.evaluation / "report.json")
    validation, split = read_json(layout.validation / "report.json"), read_json(layout.split / "report.json")
    vocabulary, registration = read_json(layout.vocabulary / "report.json"), confirmed(layout, settings)
    manifest = Manifest.load(layout.onnx)
    return {
        # The numbers, and None for those that could not be measured: not the tables by class.
        **{key: value for key, value in evaluation.items() if not isinstance(value, (dict, list))},
        "rows": {name: split[name] for name in ("train", "validation", "test")},
        "trained_parameters": mask["trained_parameters"],
        "total_parameters": mask["total_parameters"],
        "tokens_saved": vocabulary["saved"],
        "warnings": [check["message"] for check in validation["checks"] if not check["passed"] or _tells(check, validation)],
        "unlabelled": sum(validation.get("unlabelled", {}).values()),
        "truncated": validation.get("truncated", {}),
        "seconds": {name: round(taken, 2) for name, taken in seconds.items() if taken is not None},
        "skipped": [name for name, taken in seconds.items() if taken is None],
        "data_hash": manifest.data_hash,
        "model_name": registration["name"],
        "model_version": registration["version"],
        "model_dir": str(layout.onnx),
        "variant": manifest.variant,
        "race": read_json(layout.onnx / race.NAME)["variants"],
        "parity": dict(manifest.parity),
    }


def _tells(check: dict[str, Any], validation: dict[str, Any]) -> bool:
    """Whether a check that passed has left rows out."""
    return check["name"] == "unlabelled" and check["part"] in validation.get("unlabelled", {})
