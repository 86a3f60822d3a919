"""Compare OpenVINO and its static int8 with ONNX Runtime's variants fused and int8.

    pip install openvino nncf
    python -m benchmarks.serving.openvino_int8 --projects DIR,DIR

NNCF chooses fixed scales for the activations from the same training texts that calibrate int8
here, with SmoothQuant and its preset for transformers. A JSON object per project is printed:
milliseconds per text on one thread and the labels that differ from PyTorch's, as in `variants.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import numpy.typing as npt
import openvino

from benchmarks.command import reports_input_errors
from tasks.export import Untrained, manifest_of, sample_of
from tokensieve.export.build_variants import SAMPLE, build
from tokensieve.export.choose_variant import times
from tokensieve.export.onnx_graph import export_onnx
from tokensieve.inference.predictor import run_batches
from tokensieve.inference.session import IDS, load_engine
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.processor import saturates_int8
from tokensieve.project import Layout
from tokensieve.settings import Settings

TIMED = 100  # texts
ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}


class OpenVino:
    """A compiled model, with the method of `tokensieve.inference.session.Engine`."""

    def __init__(self, model: openvino.Model) -> None:
        self._request = openvino.Core().compile_model(model, "CPU", ONE_THREAD).create_infer_request()

    def run(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the logits, float32 [texts, classes]; each text is run alone."""
        return np.concatenate([self._request.infer({IDS: text[None]})[0] for text in ids])


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.openvino_int8", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--projects", required=True, help="folders of projects, separated by commas")
    for folder in parser.parse_args(arguments).projects.split(","):
        print(json.dumps(measure(Layout(Path(folder).resolve()))))
    return 0


def measure(layout: Layout) -> dict[str, Any]:
    """Return the times and the differences of each engine."""
    settings, manifest = Settings.load(layout.params), manifest_of(layout)
    untrained = Untrained.load(layout, manifest.labels)
    tokenizer = load_tokenizer(layout.model)
    ids = tokenize(tokenizer, untrained.all_texts(), manifest.max_length, manifest.truncation)
    sample = sample_of(layout, settings.base.max_length, settings.base.truncation)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        config = export_onnx(layout.model, plain)
        engines: dict[str, Any] = {}
        for name in ("fused", "int8"):
            build(plain, config, name, sample, Path(folder) / f"{name}.onnx")
            engines[name] = load_engine(Path(folder) / f"{name}.onnx", name, 1)
        engines["OpenVINO fp32"] = OpenVino(openvino.Core().read_model(plain))
        texts = nncf.Dataset([{IDS: np.array([text], dtype=np.int64)} for text in sample])
        quantized = nncf.quantize(
            openvino.Core().read_model(plain),
            texts,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=SAMPLE,
        )
        engines["OpenVINO int8"] = OpenVino(quantized)
        start = len(untrained.texts.get("validation", ()))
        spent = times(engines, ids[start : start + TIMED])
        found = {
            name: untrained.compared(run_batches(engine.run, ids, len(manifest.labels)), manifest.rule)
            for name, engine in engines.items()
        }
    return {
        "project": layout.root.name,
        "saturates": saturates_int8(),
        "engines": {
            name: {
                "milliseconds": round(spent[name], 3),
                "other_labels": round((1 - each.agreement) * each.texts),
                "other_confident_labels": round((1 - each.confident_agreement) * each.confident_texts),
                "confident_texts": each.confident_texts,
                "texts": each.texts,
            }
            for name, each in found.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
