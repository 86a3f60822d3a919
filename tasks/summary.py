"""The summary of a run: read from what the stages wrote, so that it is the same whichever stages ran."""

from __future__ import annotations

from typing import Any

from tasks.registry_check import confirmed
from tokensieve.export import choose_variant
from tokensieve.files import read_json
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.settings import Settings

WORSE = 0.005  # rise of the calibration error that is worth a warning


def summary(layout: Layout, settings: Settings, seconds: dict[str, float | None]) -> dict[str, Any]:
    """One JSON object; `seconds` holds what each stage took, None for those skipped.

    Raises:
        InputError: If the registry does not have the version that it names.
    """
    mask, evaluation = read_json(layout.mask / "report.json"), read_json(layout.evaluation / "report.json")
    validation, split = read_json(layout.validation / "report.json"), read_json(layout.split / "report.json")
    vocabulary, registration = read_json(layout.vocabulary / "report.json"), confirmed(layout, settings)
    manifest, race_report = Manifest.load(layout.onnx), read_json(layout.onnx / choose_variant.NAME)
    torch = _numbers(evaluation)
    # An export of an earlier version did not judge the served build: then the figures are PyTorch's.
    served = _numbers(race_report.get("served", torch))
    return {
        **torch,
        **served,
        "calibration_is_worse": _is_worse({**torch, **served}),
        "torch": {key: value for key, value in torch.items() if key in served},
        "rows": {name: split[name] for name in ("train", "validation", "test")},
        "trained_parameters": mask["trained_parameters"],
        "total_parameters": mask["total_parameters"],
        "tokens_saved": vocabulary["saved"],
        "warnings": [
            check["message"]
            for check in validation["checks"]
            if not check["passed"] or _leaves_rows_out(check, validation)
        ]
        + _doubts({**torch, **served}),
        "unlabelled": sum(validation.get("unlabelled", {}).values()),
        "truncated": validation.get("truncated", {}),
        "seconds": {name: round(taken, 2) for name, taken in seconds.items() if taken is not None},
        "skipped": [name for name, taken in seconds.items() if taken is None],
        "data_hash": manifest.data_hash,
        "model_name": registration.name,
        "model_version": registration.version,
        "model_dir": str(layout.onnx),
        "variant": manifest.variant,
        "race": race_report["variants"],
        "parity": dict(manifest.parity),
    }


def _leaves_rows_out(check: dict[str, Any], validation: dict[str, Any]) -> bool:
    """Whether a check that passed has left rows out."""
    return check["name"] == "unlabelled" and check["part"] in validation.get("unlabelled", {})


def _numbers(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report's numbers, None for those that could not be measured, and the intervals: not the tables by class."""
    return {
        key: value
        for key, value in report.items()
        if key.endswith("_interval") or not isinstance(value, (dict, list))
    }


def _is_worse(figures: dict[str, Any]) -> bool:
    return bool(figures["test_ece"] > figures["test_ece_before"] + WORSE)


def _doubts(figures: dict[str, Any]) -> list[str]:
    """Return what the figures themselves say against the model."""
    if not _is_worse(figures):
        return []
    before, after = figures["test_ece_before"], figures["test_ece"]
    fitted = (
        f" The temperature was fitted on {figures['calibration_texts']:,} texts."
        if "calibration_texts" in figures
        else ""
    )
    return [
        f"scaling by temperature {figures['temperature']:.2f} made the calibration error on the test texts worse, from {before:.4f} to "
        f"{after:.4f}.{fitted} More validation texts make it surer."
    ]
