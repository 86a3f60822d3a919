"""Compare the latency of several models, run one after the other, with that of one shared model.

    python -m benchmarks.serving.shared_encoder --group NAME A B C [--group ...]

A, B and C are exported projects. The time is that of one text, from string to predictions, on one
thread. Both sides use the same variant and take turns text by text, so that noise affects both
equally. The texts are the test texts of the projects. Writes benchmarks/results/shared.json.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from transformers import AutoConfig

from benchmarks.command import reports_input_errors
from benchmarks.timing import commit
from tokensieve.data.examples import Examples
from tokensieve.export.build_variants import SAMPLE, build
from tokensieve.export.onnx_graph import export_onnx
from tokensieve.export.shared_encoder import build_shared, common_layers, plain_graphs
from tokensieve.files import read_json, write_json
from tokensieve.inference.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.shared_predictor import SharedPredictor, save_manifest
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.processor import processor
from tokensieve.project import Layout

RESULTS = Path(__file__).parents[1] / "results" / "shared.json"
VARIANTS = ("fused", "blocks", "mixed", "int8")
TEXTS, ROUNDS = 40, 5  # texts per task, runs per text, of which the fastest counts


@reports_input_errors
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--group", action="append", nargs="+", required=True, metavar="NAME_THEN_PROJECTS")
    machine = {"processor": processor(), "threads": 1, "onnxruntime": onnxruntime.__version__}
    groups = {}
    for name, *folders in parser.parse_args().group:
        groups[name] = measure({Path(folder).name: Layout(Path(folder)) for folder in folders})
        for variant, row in groups[name]["variants"].items():
            print(
                f"{name} {variant}: {row['separate']:.2f} ms separate, {row['shared']:.2f} ms shared, ratio "
                f"{row['ratio']:.3f}"
            )
    write_json(
        RESULTS, {"machine": machine, "commit": commit(), "texts": TEXTS, "rounds": ROUNDS, "groups": groups}
    )
    return 0


def measure(layouts: Mapping[str, Layout]) -> dict[str, Any]:
    """Return the shared layers and, by variant, latencies and the largest logit difference."""
    cut = common_layers({name: layout.model for name, layout in layouts.items()})
    layers = read_json(next(iter(layouts.values())).model / "config.json")["num_hidden_layers"]
    texts = [text for layout in layouts.values() for text in _sampled(layout, "test", TEXTS)]
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        plain = plain_graphs({name: layout.model for name, layout in layouts.items()}, cut, Path(scratch))
        for variant in VARIANTS:
            shared = _shared(layouts, plain, variant, cut, Path(scratch))
            separate = {name: _separate(layout, variant, Path(scratch)) for name, layout in layouts.items()}
            rows[variant] = _timed({"separate": _each(separate), "shared": shared.predict_by_task}, texts)
            rows[variant]["difference"] = max(
                float(
                    np.abs(logits - np.concatenate([separate[name].logits([text]) for text in texts])).max()
                )
                for name, logits in _one_by_one(shared, texts).items()
            )
    count = len(layouts)
    # "ideal": the share of the layers that is still computed, the ratio if only layers took time.
    return {
        "shared_layers": cut,
        "layers": layers,
        "ideal": (cut + count * (layers - cut)) / (count * layers),
        "variants": rows,
    }


def _timed(sides: Mapping[str, Callable[[list[str]], Any]], texts: list[str]) -> dict[str, Any]:
    best = {name: np.full(len(texts), np.inf) for name in sides}
    for _ in range(ROUNDS):
        for place, text in enumerate(texts):
            for name, answer in sides.items():
                start = time.perf_counter()
                answer([text])
                best[name][place] = min(best[name][place], (time.perf_counter() - start) * 1000)
    found = {name: round(float(np.median(times)), 3) for name, times in best.items()}
    return found | {"ratio": round(found["shared"] / found["separate"], 3)}


def _shared(
    layouts: Mapping[str, Layout], plain: Mapping[str, Path], variant: str, cut: int, scratch: Path
) -> SharedPredictor:
    folder = scratch / f"shared-{variant}"
    folder.mkdir()
    shutil.copyfile(next(iter(layouts.values())).model / TOKENIZER, folder / TOKENIZER)
    config = AutoConfig.from_pretrained(next(iter(layouts.values())).model)
    build_shared(plain, config, variant, {name: _sample(layout) for name, layout in layouts.items()}, folder)
    save_manifest(
        folder,
        {name: replace(Manifest.load(layout.onnx), variant=variant) for name, layout in layouts.items()},
        cut,
    )
    return SharedPredictor.load(folder, threads=1)


def _separate(layout: Layout, variant: str, scratch: Path) -> Predictor:
    folder = scratch / f"{layout.root.name}-{variant}"
    folder.mkdir()
    manifest = Manifest.load(layout.onnx)
    config = export_onnx(layout.model, folder / "plain.onnx")
    build(folder / "plain.onnx", config, variant, _sample(layout), folder / MODEL)
    (folder / "plain.onnx").unlink()
    shutil.copyfile(layout.model / TOKENIZER, folder / TOKENIZER)
    replace(manifest, variant=variant).save(folder)
    return Predictor.load(folder, threads=1)


def _each(predictors: Mapping[str, Predictor]) -> Callable[[list[str]], Any]:
    return lambda texts: {name: predictor.predict(texts) for name, predictor in predictors.items()}


def _one_by_one(shared: SharedPredictor, texts: list[str]) -> dict[str, Any]:
    found = [shared.logits([text]) for text in texts]
    return {name: np.concatenate([logits[name] for logits in found]) for name in shared.tasks}


def _sample(layout: Layout) -> list[list[int]]:
    return tokenize(
        load_tokenizer(layout.model), _sampled(layout, "train", SAMPLE), Manifest.load(layout.onnx).max_length
    )


def _sampled(layout: Layout, part: str, count: int) -> list[str]:
    texts = Examples.load(layout.split / f"{part}.jsonl").texts
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:count]]


if __name__ == "__main__":
    sys.exit(main())
