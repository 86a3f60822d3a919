"""Stage export: the ONNX graph and its tokenizer in one folder, the fastest build that answers as torch does on the real texts.

The folder also holds race.json, how the builds did. Its times differ from run to run, and with them DVC's hash of the folder: that
matters to a stage after it only when this one was stale and ran. The manifest, by which MLflow's runs are told apart, has no times.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tqdm import tqdm

from tasks.splitting import load_part
from tasks.versioning import data_hash
from tokensieve import race
from tokensieve.base import load_tokenizer
from tokensieve.cpus import cores
from tokensieve.engine import Floats, engine_of
from tokensieve.errors import InputError
from tokensieve.export import export_onnx
from tokensieve.folder import read_json, replaced, write_json
from tokensieve.inputs import tokenized
from tokensieve.labels import targets
from tokensieve.layout import Layout
from tokensieve.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.metrics import presence
from tokensieve.predictor import Predictor, logits_of
from tokensieve.race import Entrant
from tokensieve.settings import Settings
from tokensieve.truncation import HEAD
from tokensieve.variants import SAMPLE, build, missing, processor

log = logging.getLogger("tokensieve")

TIMED = 100  # test texts of the race


def export(layout: Layout, settings: Settings) -> None:
    """Write the served folder; its manifest, last, tells how close to torch it is.

    Raises:
        InputError: the plain graph is not torch's, or no build is as close to torch as the settings allow. The earlier folder stays.
    """
    with replaced(layout.onnx) as folder:
        manifest = _manifest(layout)
        builds, skipped = _builds(layout, settings, folder)
        entrants, accuracy = _measured(layout, settings, manifest, builds)
        report = {"texts": TIMED, "threads": 1, "processor": processor(), "accuracy": accuracy, "skipped": skipped}
        faults = {entrant.variant: entrant.faults(settings.export, accuracy) for entrant in entrants}
        report["variants"] = [asdict(entrant) | {"faults": faults[entrant.variant]} for entrant in entrants]
        write_json(folder / race.NAME, report)
        shutil.copyfile(layout.model / TOKENIZER, folder / TOKENIZER)
        fit = [entrant for entrant in entrants if entrant.variant in settings.export.variants and not faults[entrant.variant]]
        _serve_the_fastest(layout, settings, manifest, builds, fit, folder)
        for path in builds.values():
            path.unlink(missing_ok=True)


def _manifest(layout: Layout) -> Manifest:
    """All but the variant and what was measured of it."""
    classifier, evaluation = read_json(layout.model / "classifier.json"), read_json(layout.evaluation / "report.json")
    return Manifest(
        labels=tuple(classifier["labels"]),
        temperature=evaluation["temperature"],
        threshold=evaluation["threshold"],
        margin=evaluation.get("margin", 0.0),
        max_length=classifier["max_length"],
        data_hash=data_hash(layout),
        base=classifier["base"],
        parity={},
        thresholds=tuple(evaluation.get("thresholds", ())),
        truncation=classifier.get("truncation", HEAD),
    )


def _builds(layout: Layout, settings: Settings, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The variants' graphs, fp32 always among them, and why others cannot be."""
    plain = folder / "plain.onnx"
    config = export_onnx(layout.model, plain)
    skipped = missing(config, settings.export.variants)
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
    return tokenized(load_tokenizer(layout.model), [texts[i] for i in drawn], max_length, truncation)


def _measured(layout: Layout, settings: Settings, manifest: Manifest, builds: Mapping[str, Path]) -> tuple[list[Entrant], float]:
    """How each build does, and torch's accuracy on validation. Raises InputError: the plain graph is not torch's."""
    tokenizer, validation = load_tokenizer(layout.model), load_part(layout, "validation")
    ids = tokenized(tokenizer, validation.texts, manifest.max_length, manifest.truncation)
    expected = load_file(layout.evaluation / "logits.safetensors")["validation"]
    wanted = targets(validation.labels, manifest.labels, settings.data.separator).numpy().reshape(len(validation), -1)
    found = {}
    for name in tqdm(builds, desc="accuracy", unit="build", leave=False, disable=None):
        found[name] = logits_of(engine_of(builds[name], name, cores()).run, ids, len(manifest.labels))
        _refuse_another_model(found[name], expected, settings, name)
    test = load_part(layout, "test").texts
    drawn = np.random.default_rng(0).permutation(len(test))[:TIMED]
    timed = tokenized(tokenizer, [test[i] for i in drawn], manifest.max_length, manifest.truncation)
    milliseconds = race.times({name: engine_of(path, name, 1) for name, path in builds.items()}, timed)
    answers = _answers(expected, manifest)
    entrants = [
        Entrant(
            variant=name,
            milliseconds=round(milliseconds[name], 3),
            megabytes=round(builds[name].stat().st_size / 1e6, 1),
            largest_difference=float(np.abs(logits - expected).max()),
            agreement=_agreement(_answers(logits, manifest), answers),
            accuracy=_agreement(_answers(logits, manifest), wanted),
        )
        for name, logits in found.items()
    ]
    return entrants, _agreement(answers, wanted)


def _serve_the_fastest(
    layout: Layout, settings: Settings, manifest: Manifest, builds: Mapping[str, Path], fit: Sequence[Entrant], folder: Path
) -> None:
    """Put the fastest of `fit` into `folder`, and its manifest, which tells how often it answers as torch does on the test texts, too."""
    if not fit:
        limits = settings.export
        table = read_json(folder / race.NAME)["variants"]
        shown = "; ".join(f"{row['variant']} {row['agreement']:.4%}, accuracy {row['accuracy']:.4f}" for row in table)
        raise InputError(
            f"none of export.variants ({', '.join(limits.variants)}) answers as torch does on {limits.agreement:.4%} of the texts "
            f"(export.agreement) and loses at most {limits.loss:g} of accuracy (export.loss): {shown}; add fp32, or allow more"
        )
    # Chosen by validation alone: the test texts are to say what the choice is worth.
    first = race.ranked(fit)[0]
    builds[first.variant].replace(folder / MODEL)
    chosen = replace(manifest, variant=first.variant)
    chosen.save(folder)
    replace(chosen, parity=_parity(layout, Predictor.load(folder))).save(folder)
    log.info("  %s is served: %.2f ms a text", first.variant, first.milliseconds)


def _refuse_another_model(found: Floats, expected: Floats, settings: Settings, variant: str) -> None:
    difference = float(np.abs(found - expected).max())
    # Written so that NaN is refused.
    if variant == "fp32" and not difference <= settings.export.tolerance:
        raise InputError(
            f"the ONNX model is not the torch model: over {len(expected)} texts its logits differ by up to "
            f"{difference:.2g} (export.tolerance {settings.export.tolerance:g})"
        )


def _parity(layout: Layout, predictor: Predictor) -> dict[str, float]:
    logits = load_file(layout.evaluation / "logits.safetensors")
    expected = np.concatenate([logits[name] for name in ("validation", "test")])
    found = predictor.logits([text for name in ("validation", "test") for text in load_part(layout, name).texts])
    return parity_of(found, expected, predictor.manifest)


def parity_of(found: Floats, expected: Floats, manifest: Manifest) -> dict[str, float]:
    """How close logits [texts, classes] are to the `expected` ones, of a model with that manifest."""
    return {
        "texts": len(expected),
        "largest_difference": float(np.abs(found - expected).max()),
        "agreement": _agreement(_answers(found, manifest), _answers(expected, manifest)),
    }


def _answers(logits: Floats, manifest: Manifest) -> npt.NDArray[Any]:
    """What is answered with `logits`, a row a text: the place of its label, or whether it has each."""
    if manifest.thresholds:
        return np.asarray(presence(logits, manifest.temperature) >= np.array(manifest.thresholds))
    return np.asarray(logits.argmax(1, keepdims=True))


def _agreement(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    """The share of texts, a row each, that have the same answer."""
    return float((found == wanted).all(1).mean())
