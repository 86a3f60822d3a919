"""Stage export: export the fastest ONNX variant whose predictions agree with PyTorch's.

The exported folder also has the tokenizer and the manifest. The variants are timed first. Then they
are compared with PyTorch, the fastest first, on all texts that were not trained on, until one keeps
the limits of the section `export`. Each is compared as it would be served. The choice uses the test
texts only to see whether a variant is worse than PyTorch, not which is best. So it hardly biases
the test figures of the chosen one.

The folder also has race.json with the results of all variants. Its times differ from run to run,
and so does DVC's hash of the folder. The next stage is affected only if this one ran. The manifest,
which identifies MLflow's runs, has no times.
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

from tasks.artifacts import FittedRule, ModelFacts, load_constructs
from tasks.reporting.write_card import write_card
from tasks.split import load_part, load_text_rule
from tasks.versioning.data_versions import data_hash
from tokensieve.bars import Bar
from tokensieve.data import text_hashes
from tokensieve.data.examples import Examples
from tokensieve.data.labels import encode_targets
from tokensieve.errors import InputError
from tokensieve.evaluation.metrics import Targets
from tokensieve.evaluation.report import Comparison, compare, is_for_threshold, report
from tokensieve.export import choose_variant
from tokensieve.export.build_variants import SAMPLE, build, int8_bits, unavailable
from tokensieve.export.choose_variant import VariantResult
from tokensieve.export.onnx_graph import export_onnx
from tokensieve.files import atomic_folder, write_json
from tokensieve.inference import phrases
from tokensieve.inference.decisions import DecisionRule
from tokensieve.inference.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.inference.predictor import Predictor, run_batches
from tokensieve.inference.session import Floats, load_engine
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.processor import instructions, processor
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.truncation import HEAD

log = logging.getLogger("tokensieve")

TIMED = 100  # test texts on which the variants are timed
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
    """All texts outside training, by part: validation, test and, if present, oos (out of scope).

    Attributes:
        texts: The texts of each part.
        logits: PyTorch's logits, float32 [texts, classes].
        targets: Of validation and test, as in `evaluation`.
    """

    texts: dict[str, list[str]]
    logits: dict[str, Floats]
    targets: dict[str, Targets]

    @classmethod
    def load(cls, layout: Layout, labels: Sequence[str]) -> Untrained:
        """Load the texts from the stage split and the logits from the stage evaluate."""
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
        """Return the texts of all parts, one part after the other."""
        return [text for texts in self.texts.values() for text in texts]

    def compared(self, found: Floats, rule: DecisionRule) -> Comparison:
        """Compare the logits of a variant for all texts with PyTorch's."""
        return compare(
            found,
            np.concatenate(list(self.logits.values())),
            np.concatenate(list(self.targets.values())),
            rule,
        )

    def measured(self, predictor: Predictor, manifest: Manifest) -> tuple[Comparison, dict[str, Any]]:
        """Return the comparison of a variant with PyTorch on all texts, and its test figures."""
        logits = predictor.logits(self.all_texts())
        ends = np.cumsum([len(texts) for texts in self.texts.values()])[:-1]
        by_part = dict(zip(self.texts, np.split(logits, ends), strict=True))
        judged = {"test": by_part["test"]}
        if "oos" in by_part:
            judged["oos"] = by_part["oos"][~is_for_threshold(self.texts["oos"])]
        figures = report(judged, self.targets["test"], list(manifest.labels), manifest.rule)
        return self.compared(logits, manifest.rule), {
            key: value for key, value in figures.items() if not isinstance(value, dict)
        }


def export(layout: Layout, settings: Settings) -> None:
    """Write the model folder. Its manifest is written last and has the agreement with PyTorch.

    Raises:
        InputError: If the fp32 graph differs from PyTorch, or no variant keeps the limits. The
            earlier folder stays.
    """
    with atomic_folder(layout.onnx) as folder:
        manifest = manifest_of(layout)
        builds, skipped = make_builds(layout, settings, folder)
        untrained = Untrained.load(layout, manifest.labels)
        results = _timed(layout, settings, manifest, builds, untrained)
        shutil.copyfile(layout.model / TOKENIZER, folder / TOKENIZER)
        text_hashes.save_hashes(folder / text_hashes.NAME, _texts_fitted_on(layout))
        phrases.save_phrases(folder, (construct.text for construct in load_constructs(layout.vocabulary)))
        rows, served = _serve_the_fastest(
            settings, manifest, builds, choose_variant.rank(results), untrained, folder
        )
        head = {
            "timed_texts": len(untrained.texts["test"][:TIMED]),
            "threads": 1,
            "processor": processor(),
            "instructions": instructions(),
            "skipped": skipped,
        }
        race = head | {"variants": rows, "served": served}
        write_json(folder / layout.race.name, race)
        write_card(folder, layout, settings, Manifest.load(folder), race)
        for path in builds.values():
            path.unlink(missing_ok=True)


def manifest_of(layout: Layout) -> Manifest:
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
        text_columns=load_text_rule(layout).columns,
        clean=load_text_rule(layout).clean,
        files={text_hashes.NAME: "", phrases.NAME: ""},
    )


def _texts_fitted_on(layout: Layout) -> list[str]:
    """Return the texts that training, early stopping or the decision rule used.

    No later test may have them.
    """
    oos = load_part(layout, "oos").texts
    for_threshold = [text for text, used in zip(oos, is_for_threshold(oos), strict=True) if used]
    return [*load_part(layout, "train").texts, *load_part(layout, "validation").texts, *for_threshold]


def make_builds(layout: Layout, settings: Settings, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Write the graphs of the variants, always with fp32.

    Return their paths, and why the others are skipped.
    """
    plain = folder / "plain.onnx"
    config = export_onnx(layout.model, plain)
    skipped = unavailable(config, settings.export.variants)
    sample = sample_of(layout, settings.base.max_length, settings.base.truncation)
    paths = {}
    names = [name for name in dict.fromkeys(("fp32", *settings.export.variants)) if name not in skipped]
    for name in Bar(names, "building", "variant"):
        paths[name] = folder / f"{name}.onnx"
        build(plain, config, name, sample, paths[name])
    plain.unlink()
    return paths, skipped


def sample_of(layout: Layout, max_length: int, truncation: str = HEAD) -> list[list[int]]:
    """Return the token ids of the training texts that calibrate the scales of int8."""
    texts = load_part(layout, "train").texts
    drawn = np.random.default_rng(0).permutation(len(texts))[:SAMPLE]
    return tokenize(load_tokenizer(layout.model), [texts[i] for i in drawn], max_length, truncation)


def _timed(
    layout: Layout, settings: Settings, manifest: Manifest, builds: Mapping[str, Path], untrained: Untrained
) -> list[VariantResult]:
    """Time each variant on some test texts and compare its logits there with PyTorch's.

    Raises:
        InputError: If the fp32 graph differs from PyTorch.
    """
    test = untrained.texts["test"]
    drawn = np.random.default_rng(0).permutation(len(test))[:TIMED]
    texts = [test[i] for i in drawn]
    ids = tokenize(load_tokenizer(layout.model), texts, manifest.max_length, manifest.truncation)
    expected = untrained.logits["test"][drawn]
    engines = {name: load_engine(path, name, 1) for name, path in builds.items()}
    milliseconds = choose_variant.times(engines, ids)
    results = []
    for name, engine in engines.items():
        difference = float(np.abs(run_batches(engine.run, ids, len(manifest.labels)) - expected).max())
        # With `not` before it, NaN is refused as well.
        if name == "fp32" and not difference <= settings.export.max_logit_difference:
            raise InputError(
                "the fp32 ONNX export differs from PyTorch: "
                f"the largest difference of a logit is {difference:.2g} on {len(ids)} texts, "
                f"the limit {settings.export.max_logit_difference:g} (export.max_logit_difference)"
            )
        size = round(builds[name].stat().st_size / 1e6, 1)
        results.append(VariantResult(name, round(milliseconds[name], 3), size, difference))
    return results


def _serve_the_fastest(
    settings: Settings,
    manifest: Manifest,
    builds: Mapping[str, Path],
    ranked: Sequence[VariantResult],
    untrained: Untrained,
    folder: Path,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write the first of `ranked` that keeps the limits, and its manifest, into `folder`.

    Slower variants than the chosen one are not compared.

    Returns:
        A row per variant for race.json, and the test figures of the chosen variant.

    Raises:
        InputError: If no variant keeps the limits.
    """
    rows = {result.variant: asdict(result) | {"faults": [], "measured": {}} for result in ranked}
    served: dict[str, Any] = {}
    for result in Bar(ranked, "compared with PyTorch", "variant"):
        if result.variant not in settings.export.variants or served:
            continue
        shutil.copyfile(builds[result.variant], folder / MODEL)
        tried = replace(manifest, variant=result.variant, int8_bits=int8_bits(result.variant))
        tried.save(folder)
        comparison, figures = untrained.measured(Predictor.load(folder), manifest)
        broken = choose_variant.violations(result.variant, comparison, settings.export)
        accuracy = figures["test_exact_match" if manifest.thresholds else "test_accuracy"]
        rows[result.variant] |= asdict(comparison) | {
            "accuracy": accuracy,
            "faults": list(broken),
            "measured": broken,
        }
        if not broken:
            served = figures
            replace(tried, parity=parity(comparison)).save(folder)
            log.info("  %s is served: %.2f ms per text", result.variant, result.milliseconds)
    if not served:
        raise _refused(settings, rows)
    return [rows[name] for name in builds], served


def parity(comparison: Comparison) -> dict[str, float]:
    """Return the figures of a comparison with PyTorch that the manifest has."""
    return {key: value for key, value in asdict(comparison).items() if key in PARITY}


def _refused(settings: Settings, rows: Mapping[str, Mapping[str, Any]]) -> InputError:
    names = settings.export.variants
    reasons = [
        f"{name}: {text} (export.{key})"
        for name in names
        if name in rows
        for key, text in rows[name]["measured"].items()
    ]
    return InputError(
        f"none of export.variants ({', '.join(names)}) answers as PyTorch does: "
        f"{'; '.join(reasons) or 'none can run here'}; add fp32 to export.variants, or relax the limits named"
    )
