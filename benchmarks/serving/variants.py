"""Compare every export variant of a project with PyTorch, and show which export limits it violates.

    python -m benchmarks.serving.variants --project DIR [--seven-bits]

Variants that are slower than the one in use are compared, too. With `--seven-bits` the int8
variants are built as on an x86 processor without VNNI.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from safetensors.numpy import load_file
from tqdm import tqdm

from benchmarks.command import reports_input_errors
from tasks.export import Untrained, _builds, _manifest
from tokensieve.cpus import cores
from tokensieve.evaluation.report import is_correct
from tokensieve.export import build_variants, choose_variant
from tokensieve.inference.decisions import decide
from tokensieve.inference.predictor import run_batches
from tokensieve.inference.session import load_engine
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings


@reports_input_errors
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--project", type=Path, required=True, help="a project whose stages up to evaluate have run"
    )
    parser.add_argument(
        "--seven-bits", action="store_true", help="weights of 7 bits, as processors without VNNI need them"
    )
    options = parser.parse_args()
    if options.seven_bits:
        build_variants.saturates_int8 = _true
    compare(Layout(options.project.resolve()))
    return 0


def compare(layout: Layout) -> None:
    """Print one JSON object per variant."""
    settings, manifest = Settings.load(layout.params), _manifest(layout)
    rule, untrained = manifest.rule, Untrained.load(layout, manifest.labels)
    ids = tokenize(
        load_tokenizer(layout.model), untrained.all_texts(), manifest.max_length, manifest.truncation
    )
    confident = decide(load_file(layout.evaluation / "logits.safetensors")["test"], rule).confident
    print(
        f"PyTorch is confident of {confident.mean():.1%} of {len(confident):,} test texts; "
        f"{build_variants.processor()}",
        file=sys.stderr,
    )
    test, start = untrained.targets["test"], len(untrained.texts.get("validation", ()))
    with tempfile.TemporaryDirectory() as folder:
        builds, _ = _builds(layout, settings, Path(folder))
        for name, path in tqdm(builds.items(), desc="variants", unit="variant", leave=False, disable=None):
            logits = run_batches(load_engine(path, name, cores()).run, ids, len(manifest.labels))
            compared = untrained.compared(logits, rule)
            predicted = decide(logits[start : start + len(test)], rule).labels
            row = {
                "variant": name,
                "other_labels": round((1 - compared.agreement) * compared.texts),
                "texts": compared.texts,
                "other_confident_labels": round(
                    (1 - compared.confident_agreement) * compared.confident_texts
                ),
                "confident_texts": compared.confident_texts,
                "proven_agreement": round(compared.proven_agreement, 4),
                "accuracy": round(float(is_correct(predicted, test).mean()), 4),
                "coverage_change": round(compared.coverage_change, 4),
                "calibration_rise": round(compared.calibration_rise, 4),
                "violations": choose_variant.violations(name, compared, settings.export),
            }
            print(json.dumps(row))


def _true(cpuinfo: Path = build_variants.CPUINFO) -> bool:
    return True


if __name__ == "__main__":
    sys.exit(main())
