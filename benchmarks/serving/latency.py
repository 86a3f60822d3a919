"""Measure the latency of one text, from string to label, in one process and on one thread.

    python -m benchmarks.serving.latency --project DIR --texts FILE

`benchmarks.serving.run` runs this in a process of its own. The exported model and the usual
alternatives take turns, one block of texts each, so that noise affects all of them equally.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from transformers import AutoTokenizer, pipeline
from transformers import logging as transformers_logging

from benchmarks.command import reports_input_errors
from tokensieve.export.onnx_graph import write_graph
from tokensieve.inference.predictor import Predictor
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout

BLOCK, ROUNDS, WARM_UP = 50, 8, 20  # texts per block, blocks, texts before measuring
OURS = "tokensieve"
Label = Callable[[str], str]


@reports_input_errors
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="one JSON list of text and label per line")
    options = parser.parse_args()
    pairs = [json.loads(line) for line in options.texts.read_text(encoding="utf-8").splitlines()]
    json.dump(measure(Layout(options.project), *map(list, zip(*pairs, strict=True))), sys.stdout)
    return 0


def measure(layout: Layout, texts: list[str], labels: list[str]) -> dict[str, Any]:
    """Return per method its milliseconds per text and its agreement with PyTorch's labels.

    The times are p50, p95 and p99. PyTorch and the exported model also get their accuracy.
    """
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        made = methods(layout, Path(scratch))
        for label in made.values():
            for text in texts[:WARM_UP]:
                label(text)
        seconds: dict[str, list[float]] = {name: [] for name in made}
        labels_of: dict[str, list[str]] = {name: [] for name in made}
        for turn in range(ROUNDS):
            block = [texts[(turn * BLOCK + i) % len(texts)] for i in range(BLOCK)]
            for name, label in made.items():
                for text in block:
                    began = time.perf_counter()
                    answer = label(text)
                    seconds[name].append(time.perf_counter() - began)
                    labels_of[name].append(answer)
        right = {
            name: {
                "accuracy": statistics.mean(
                    made[name](text) == label for text, label in zip(texts, labels, strict=True)
                )
            }
            for name in ("torch", OURS)
        }
    return {
        name: _milliseconds(spent)
        | {
            "agreement": statistics.mean(
                a == b for a, b in zip(labels_of[name], labels_of["torch"], strict=True)
            )
        }
        | right.get(name, {})
        for name, spent in seconds.items()
    }


def methods(layout: Layout, scratch: Path) -> dict[str, Label]:
    """Return by name the functions from a text to its label."""
    classifier, tokenizer = Classifier.load(layout.model), load_tokenizer(layout.model)
    labels = classifier.labels

    def by_torch(text: str) -> str:
        with torch.inference_mode():
            return labels[
                int(Inputs(tokenize(tokenizer, [text], 128)).batch([0]).logits(classifier).argmax())
            ]

    return {
        "transformers pipeline": _pipeline(layout, classifier),
        "torch": by_torch,
        "ONNX Runtime fp32": _plain(layout, classifier, scratch, padding=False),
        "ONNX Runtime fp32, padded to 128": _plain(layout, classifier, scratch, padding=True),
        OURS: _ours(layout),
    }


def _ours(layout: Layout) -> Label:
    predictor = Predictor.load(layout.onnx, threads=1)
    return lambda text: predictor.predict([text])[0].label


def _pipeline(layout: Layout, classifier: Classifier) -> Label:
    """Return the feature pipeline of transformers, with mean pooling and our linear head.

    `pipeline("text-classification")` would need a model class with a head of its own.
    """
    run = pipeline("feature-extraction", model=str(layout.model), tokenizer=str(layout.model), device="cpu")
    weight, bias = classifier.head.weight.detach().numpy(), classifier.head.bias.detach().numpy()

    def label(text: str) -> str:
        states = np.array(run(text, truncation=True, max_length=128)[0], dtype=np.float32)
        return classifier.labels[int((weight @ states.mean(0) + bias).argmax())]

    return label


def _plain(layout: Layout, classifier: Classifier, scratch: Path, padding: bool) -> Label:
    """Return the graph as exported by PyTorch, with ONNX Runtime's defaults.

    `padding`: pad every text to 128 tokens.
    """
    graph, names = scratch / f"{padding}.onnx", ("input_ids", "attention_mask")
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: "length"} for name in names} | {
        "logits": {0: "batch"}
    }
    ones = torch.ones(2, 5, dtype=torch.int64)
    write_graph(Classifier.load(layout.model, attention="eager"), (ones, ones), graph, ["logits"], axes)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(layout.model)

    def label(text: str) -> str:
        encoded = tokenizer(
            text,
            truncation=True,
            max_length=128,
            padding="max_length" if padding else False,
            return_tensors="np",
        )
        feed = {name: encoded[name].astype(np.int64) for name in names}
        return classifier.labels[int(session.run(["logits"], feed)[0].argmax())]

    return label


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(np.array(seconds) * 1e3, [50, 95, 99])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}


if __name__ == "__main__":
    sys.exit(main())
