"""Stage export: the ONNX graph and its tokenizer in one folder, checked against torch on the real texts."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from tasks.splitting import load_part
from tasks.versioning import data_hash
from tokensieve.errors import InputError
from tokensieve.export import export_onnx
from tokensieve.folder import read_json, replaced
from tokensieve.layout import Layout
from tokensieve.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.metrics import presence
from tokensieve.predictor import Predictor
from tokensieve.settings import Settings


def export(layout: Layout, settings: Settings) -> None:
    """Write the served folder; its manifest, last, tells how close to torch it is.

    Raises:
        InputError: it is further from torch than the settings allow. The earlier folder stays.
    """
    classifier, evaluation = read_json(layout.model / "classifier.json"), read_json(layout.evaluation / "report.json")
    with replaced(layout.onnx) as folder:
        export_onnx(layout.model, folder / MODEL)
        shutil.copyfile(layout.model / TOKENIZER, folder / TOKENIZER)
        manifest = Manifest(
            labels=tuple(classifier["labels"]),
            temperature=evaluation["temperature"],
            threshold=evaluation["threshold"],
            margin=evaluation.get("margin", 0.0),
            max_length=classifier["max_length"],
            data_hash=data_hash(layout),
            base=classifier["base"],
            parity={},
            thresholds=tuple(evaluation.get("thresholds", ())),
        )
        manifest.save(folder)
        parity = _parity(layout, Predictor.load(folder))
        limits = settings.export
        if parity["largest_difference"] > limits.tolerance or parity["agreement"] < limits.agreement:
            raise InputError(
                f"the ONNX model is not the torch model: over {parity['texts']} texts its logits differ by up to "
                f"{parity['largest_difference']:.2g} (export.tolerance {limits.tolerance:g}) and its labels agree on "
                f"{parity['agreement']:.4%} (export.agreement {limits.agreement:.4%})"
            )
        dataclasses.replace(manifest, parity=parity).save(folder)


def _parity(layout: Layout, predictor: Predictor) -> dict[str, float]:
    logits = load_file(layout.evaluation / "logits.safetensors")
    expected = np.concatenate([logits[name] for name in ("validation", "test")])
    found = predictor.logits([text for name in ("validation", "test") for text in load_part(layout, name).texts])
    return {
        "texts": len(expected),
        "largest_difference": float(np.abs(found - expected).max()),
        "agreement": float((_answers(found, predictor.manifest) == _answers(expected, predictor.manifest)).all(1).mean()),
    }


def _answers(logits: npt.NDArray[np.float32], manifest: Manifest) -> npt.NDArray[Any]:
    """What is answered with `logits`, a row a text: the place of its label, or whether it has each."""
    if manifest.thresholds:
        return np.asarray(presence(logits, manifest.temperature) >= np.array(manifest.thresholds))
    return np.asarray(logits.argmax(1, keepdims=True))
