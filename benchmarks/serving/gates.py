"""Which builds of an exported project users could tell from PyTorch's model, and what the gates say of them.

    python -m benchmarks.serving.gates --project DIR [--seven-bits]

Every build is compared, also those that are slower than the one that is served. With `--seven-bits` the int8 builds are made as on an
x86 processor without VNNI.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from safetensors.numpy import load_file
from tqdm import tqdm

from tasks.export import Untrained, _builds, _manifest
from tokensieve.cpus import cores
from tokensieve.evaluation.report import right
from tokensieve.export import build_variants, choose_variant
from tokensieve.inference.decisions import decide
from tokensieve.inference.predictor import run_batches
from tokensieve.inference.session import engine_of
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.gates", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--project", type=Path, required=True, help="a project whose stages up to evaluate have run"
    )
    parser.add_argument(
        "--seven-bits", action="store_true", help="weights of 7 bits, as processors without VNNI need them"
    )
    asked = parser.parse_args()
    if asked.seven_bits:
        build_variants.saturates = _true
    layout = Layout(asked.project.resolve())
    settings = Settings.load(layout.params)
    manifest = _manifest(layout)
    rule, untrained = manifest.rule, Untrained.load(layout, manifest.labels, settings.data.label_separator)
    ids = tokenize(
        load_tokenizer(layout.model), untrained.all_texts(), manifest.max_length, manifest.truncation
    )
    sure = decide(load_file(layout.evaluation / "logits.safetensors")["test"], rule).confident
    print(
        f"PyTorch is confident of {sure.mean():.1%} of {len(sure):,} test texts; {build_variants.processor()}",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as folder:
        builds, _ = _builds(layout, settings, Path(folder))
        for name, path in tqdm(builds.items(), desc="builds", unit="build", leave=False, disable=None):
            logits = run_batches(engine_of(path, name, cores()).run, ids, len(manifest.labels))
            found = untrained.compared(logits, rule)
            flips = (
                round((1 - found.agreement) * found.texts),
                round((1 - found.confident_agreement) * found.confident_texts),
            )
            test = untrained.targets["test"]
            start = len(untrained.texts.get("validation", ()))
            accuracy = right(decide(logits[start : start + len(test)], rule).labels, test).mean()
            row = {
                "build": name,
                "flips": flips[0],
                "of": found.texts,
                "confident_flips": flips[1],
                "confident": found.confident_texts,
            }
            row |= {"proven": round(found.proven_agreement, 4), "accuracy": round(float(accuracy), 4)}
            row |= {
                "coverage_change": round(found.coverage_change, 4),
                "calibration_rise": round(found.calibration_rise, 4),
            }
            print(json.dumps(row | {"faults": choose_variant.faults(name, found, settings.export)}))
    return 0


def _true(cpuinfo: Path = build_variants.CPUINFO) -> bool:
    return True


if __name__ == "__main__":
    sys.exit(main())
