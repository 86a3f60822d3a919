"""What one text costs from string to label inside a process, on one thread: the exported model against the usual ways to run it.

    python -m benchmarks.serving.latency --project DIR --texts FILE

Run by `benchmarks.serving.run`, in a process of its own. The contenders take turns, a block of texts each, so that noise hits all alike.
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

from tokensieve.export.onnx_graph import write_graph
from tokensieve.inference.predictor import Predictor
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout

BLOCK, ROUNDS, WARM = 50, 8, 20
OURS = "tokensieve"
Label = Callable[[str], str]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument(
        "--texts", type=Path, required=True, help="a text and its label a line, as a JSON list"
    )
    asked = parser.parse_args()
    pairs = [json.loads(line) for line in asked.texts.read_text(encoding="utf-8").splitlines()]
    json.dump(measured(Layout(asked.project), *map(list, zip(*pairs, strict=True))), sys.stdout)
    return 0


def measured(layout: Layout, texts: list[str], labels: list[str]) -> dict[str, Any]:
    """Milliseconds a text (p50, p95, p99) by contender, and the share of the timed texts to which it gives torch's label; of torch and
    what is served also the accuracy on all texts."""
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        made = contenders(layout, Path(scratch))
        for label in made.values():
            for text in texts[:WARM]:
                label(text)
        seconds: dict[str, list[float]] = {name: [] for name in made}
        found: dict[str, list[str]] = {name: [] for name in made}
        for turn in range(ROUNDS):
            block = [texts[(turn * BLOCK + i) % len(texts)] for i in range(BLOCK)]
            for name, label in made.items():
                for text in block:
                    began = time.perf_counter()
                    answer = label(text)
                    seconds[name].append(time.perf_counter() - began)
                    found[name].append(answer)
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
        | {"agreement": statistics.mean(a == b for a, b in zip(found[name], found["torch"], strict=True))}
        | right.get(name, {})
        for name, spent in seconds.items()
    }


def contenders(layout: Layout, scratch: Path) -> dict[str, Label]:
    """Functions from a text to its label, by name."""
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
    """`pipeline("text-classification")` needs a class of its own with a head: the encoder's features pooled and the same linear head."""
    run = pipeline("feature-extraction", model=str(layout.model), tokenizer=str(layout.model), device="cpu")
    weight, bias = classifier.head.weight.detach().numpy(), classifier.head.bias.detach().numpy()

    def label(text: str) -> str:
        states = np.array(run(text, truncation=True, max_length=128)[0], dtype=np.float32)
        return classifier.labels[int((weight @ states.mean(0) + bias).argmax())]

    return label


def _plain(layout: Layout, classifier: Classifier, scratch: Path, padding: bool) -> Label:
    """The graph as torch exports it, with what ONNX Runtime does by default; with `padding` every text has 128 tokens."""
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
