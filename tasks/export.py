"""Stage export: the ONNX graph and its tokenizer in one folder, the fastest build that users cannot tell from PyTorch's model.

The builds are timed first and then compared with PyTorch, the fastest first, on every text that was not trained on, until one keeps
the limits of the section `export`. Each is compared as it would be served. Of the test texts, the choice sees whether a build is worse
than PyTorch, not which build is best, so the figures of the one that is served are hardly flattered by it.

The folder also holds race.json, how the builds did. Its times differ from run to run, and with them DVC's hash of the folder: that
matters to a stage after it only when this one was stale and ran. The manifest, by which MLflow's runs are told apart, has no times.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tqdm import tqdm

from tasks.artifacts import FittedRule, ModelFacts
from tasks.data_versions import data_hash
from tasks.split import load_part
from tokensieve.data.examples import Examples
from tokensieve.data.labels import encode_targets
from tokensieve.errors import InputError
from tokensieve.evaluation.metrics import Targets
from tokensieve.evaluation.report import Comparison, compare, is_for_threshold, report
from tokensieve.export import choose_variant
from tokensieve.export.build_variants import SAMPLE, build, processor, unavailable
from tokensieve.export.choose_variant import VariantResult
from tokensieve.export.onnx_graph import export_onnx
from tokensieve.files import atomic_folder, write_json
from tokensieve.inference.decisions import DecisionRule
from tokensieve.inference.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.inference.predictor import Predictor, run_batches
from tokensieve.inference.session import Floats, load_engine
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.truncation import HEAD

log = logging.getLogger("tokensieve")

TIMED = 100  # test texts on which the builds are timed
PARITY = (
    "texts",
    "largest_difference",
    "agreement",
    "confident_texts",
    "confident_agreement",
    "proven_agreement",
)


@dataclass(frozen=True)
class Untrained:
    """All texts that were not trained on: PyTorch's logits for them by part, and the targets of validation and test.

    The part oos has texts out of scope, if there are any, and no targets.
    """

    texts: dict[str, list[str]]
    logits: dict[str, Floats]
    targets: dict[str, Targets]

    @classmethod
    def load(cls, layout: Layout, labels: Sequence[str]) -> Untrained:
        """Read what the stages split and evaluate wrote."""
        logits = load_file(layout.evaluation / "logits.safetensors")
        parts: dict[str, Examples] = {
            name: load_part(layout, name) for name in ("validation", "test", "oos") if name in logits
        }
        wanted: dict[str, Targets] = {
            name: encode_targets(part.labels, labels, part.multi_label).numpy()
            for name, part in parts.items()
            if name != "oos"
        }
        return cls(
            {name: part.texts for name, part in parts.items()}, {name: logits[name] for name in parts}, wanted
        )

    def all_texts(self) -> list[str]:
        return [text for texts in self.texts.values() for text in texts]

    def compared(self, found: Floats, rule: DecisionRule) -> Comparison:
        """Compare the logits that a build has for all texts with PyTorch's."""
        return compare(
            found,
            np.concatenate(list(self.logits.values())),
            np.concatenate(list(self.targets.values())),
            rule,
        )

    def report(self, found: Floats, labels: Sequence[str], rule: DecisionRule) -> dict[str, Any]:
        """Return the figures on the test texts that a build earns with its logits for all texts."""
        ends = np.cumsum([len(texts) for texts in self.texts.values()])[:-1]
        by_part = dict(zip(self.texts, np.split(found, ends), strict=True))
        judged = {"test": by_part["test"]}
        if "oos" in by_part:
            judged["oos"] = by_part["oos"][~is_for_threshold(self.texts["oos"])]
        return report(judged, self.targets["test"], list(labels), rule)


def export(layout: Layout, settings: Settings) -> None:
    """Write the served folder. Its manifest is written last and states how close it is to PyTorch.

    Raises:
        InputError: If the plain graph is not PyTorch's, or no build keeps the limits. The earlier folder stays.
    """
    with atomic_folder(layout.onnx) as folder:
        manifest = _manifest(layout)
        builds, skipped = _builds(layout, settings, folder)
        untrained = Untrained.load(layout, manifest.labels)
        entrants = _timed(layout, settings, manifest, builds, untrained)
        shutil.copyfile(layout.model / TOKENIZER, folder / TOKENIZER)
        rows, served = _serve_the_fastest(
            settings, manifest, builds, choose_variant.rank(entrants), untrained, folder
        )
        head = {
            "timed_texts": len(untrained.texts["test"][:TIMED]),
            "threads": 1,
            "processor": processor(),
            "skipped": skipped,
        }
        write_json(folder / choose_variant.NAME, head | {"variants": rows, "served": served})
        for path in builds.values():
            path.unlink(missing_ok=True)


def _manifest(layout: Layout) -> Manifest:
    """Return the manifest without the variant and its measurements."""
    model, rule = ModelFacts.load(layout.model), FittedRule.load(layout.evaluation)
    return Manifest(
        labels=model.labels,
        temperature=rule.temperature,
        threshold=rule.threshold,
        margin=rule.margin,
        max_length=model.max_length,
        data_hash=data_hash(layout),
        base=model.base,
        parity={},
        thresholds=rule.thresholds,
        truncation=model.truncation,
    )


def _builds(layout: Layout, settings: Settings, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The variants' graphs, fp32 always among them, and why others cannot be."""
    plain = folder / "plain.onnx"
    config = export_onnx(layout.model, plain)
    skipped = unavailable(config, settings.export.variants)
    sample = sample_of(layout, settings.base.max_length, settings.base.truncation)
    paths = {}
    names = [name for name in dict.fromkeys(("fp32", *settings.export.variants)) if name not in skipped]
    for name in tqdm(names, desc="builds", unit="build", leave=False, disable=None):
        paths[name] = folder / f"{name}.onnx"
        build(plain, config, name, sample, paths[name])
    plain.unlink()
    return paths, skipped


def sample_of(layout: Layout, max_length: int, truncation: str = HEAD) -> list[list[int]]:
    """The token ids of the training texts that int8's scales are set on."""
    texts = load_part(layout, "train").texts
    drawn = np.random.default_rng(0).permutation(len(texts))[:SAMPLE]
    return tokenize(load_tokenizer(layout.model), [texts[i] for i in drawn], max_length, truncation)


def _timed(
    layout: Layout, settings: Settings, manifest: Manifest, builds: Mapping[str, Path], untrained: Untrained
) -> list[VariantResult]:
    """Time each build on some test texts, and compare its logits there.

    Raises:
        InputError: If the plain graph is not PyTorch's.
    """
    test = untrained.texts["test"]
    drawn = np.random.default_rng(0).permutation(len(test))[:TIMED]
    texts = [test[i] for i in drawn]
    ids = tokenize(load_tokenizer(layout.model), texts, manifest.max_length, manifest.truncation)
    expected = untrained.logits["test"][drawn]
    engines = {name: load_engine(path, name, 1) for name, path in builds.items()}
    milliseconds = choose_variant.times(engines, ids)
    entrants = []
    for name, engine in engines.items():
        difference = float(np.abs(run_batches(engine.run, ids, len(manifest.labels)) - expected).max())
        # Written so that NaN is refused.
        if name == "fp32" and not difference <= settings.export.max_logit_difference:
            raise InputError(
                f"the fp32 ONNX export differs from PyTorch: the largest difference of a logit is {difference:.2g} on {len(ids)} texts, "
                f"the limit {settings.export.max_logit_difference:g} (export.max_logit_difference)"
            )
        size = round(builds[name].stat().st_size / 1e6, 1)
        entrants.append(VariantResult(name, round(milliseconds[name], 3), size, difference))
    return entrants


def _serve_the_fastest(
    settings: Settings,
    manifest: Manifest,
    builds: Mapping[str, Path],
    ranked: Sequence[VariantResult],
    untrained: Untrained,
    folder: Path,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Put the first of `ranked` that keeps the limits into `folder`, and its manifest. Returns a row per build and the served figures.

    Builds that are slower than the one that is served are not compared.
    """
    rows = {entrant.variant: asdict(entrant) | {"faults": [], "measured": {}} for entrant in ranked}
    served: dict[str, Any] = {}
    for entrant in tqdm(ranked, desc="compared with PyTorch", unit="build", leave=False, disable=None):
        if entrant.variant not in settings.export.variants or served:
            continue
        shutil.copyfile(builds[entrant.variant], folder / MODEL)
        tried = replace(manifest, variant=entrant.variant)
        tried.save(folder)
        logits = Predictor.load(folder).logits(untrained.all_texts())
        rule = manifest.rule
        found = untrained.compared(logits, rule)
        figures = {
            key: value
            for key, value in untrained.report(logits, manifest.labels, rule).items()
            if not isinstance(value, dict)
        }
        broken = choose_variant.violations(entrant.variant, found, settings.export)
        accuracy = figures["test_exact_match" if rule.thresholds else "test_accuracy"]
        rows[entrant.variant] |= asdict(found) | {
            "accuracy": accuracy,
            "faults": list(broken),
            "measured": broken,
        }
        if not broken:
            served = figures
            replace(tried, parity={key: value for key, value in asdict(found).items() if key in PARITY}).save(
                folder
            )
            log.info("  %s is served: %.2f ms per text", entrant.variant, entrant.milliseconds)
    if not served:
        raise _refused(settings, rows)
    return [rows[name] for name in builds], served


def _refused(settings: Settings, rows: Mapping[str, Mapping[str, Any]]) -> InputError:
    names = settings.export.variants
    reasons = [
        f"{name}: {text} (export.{key})"
        for name in names
        if name in rows
        for key, text in rows[name]["measured"].items()
    ]
    return InputError(
        f"none of export.variants ({', '.join(names)}) answers as PyTorch does: {'; '.join(reasons) or 'none can run here'}; "
        "add fp32 to export.variants, or relax the limits named"
    )
