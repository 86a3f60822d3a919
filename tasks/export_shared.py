"""Export the models of several projects into one folder with one copy of the shared layers."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from tasks.export import Untrained, parity, sample_of
from tokensieve.errors import InputError
from tokensieve.evaluation.report import Comparison
from tokensieve.export import choose_variant
from tokensieve.export.build_variants import int8_bits, unavailable
from tokensieve.export.shared_encoder import build_shared, common_layers, plain_graphs
from tokensieve.files import atomic_folder
from tokensieve.inference.manifest import TOKENIZER, Manifest
from tokensieve.inference.phrases import NAME as PHRASES
from tokensieve.inference.phrases import read_phrases, save_phrases
from tokensieve.inference.shared_predictor import PREFIX, SharedPredictor, save_manifest, suffix_name
from tokensieve.project import Layout
from tokensieve.settings import VARIANTS, Settings

log = logging.getLogger("tokensieve")


def export_shared(sources: Sequence[Path], output: Path) -> dict[str, Any]:
    """Write a shared folder.

    Its variant is the most exact of those that the projects chose, or a more exact one, so that
    every task keeps the limits of its settings.

    Args:
        sources: Projects, or their artifacts/model folders.
        output: The folder to write, which must not exist.

    Returns:
        The number of shared layers, the variant, and per task the agreement with PyTorch.

    Raises:
        InputError: If a source is not an exported project, if two have the same name, if `output`
            exists, or if the models share no layers.
    """
    layouts = _projects(sources)
    if output.exists():
        raise InputError(f"--output {output} exists; use a new folder, or remove it")
    manifests = _manifests(layouts)
    models = {name: layout.model for name, layout in layouts.items()}
    layers = common_layers(models)
    log.info("%d layers are shared by %s", layers, ", ".join(layouts))
    samples = {
        name: sample_of(layout, manifests[name].max_length, manifests[name].truncation)
        for name, layout in layouts.items()
    }
    config = AutoConfig.from_pretrained(next(iter(models.values())))
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(output) as folder, TemporaryDirectory(dir=output.parent) as scratch:
        _write_common(layouts, folder)
        plain = plain_graphs(models, layers, Path(scratch))
        for variant in _candidates(config, manifests):
            build_shared(plain, config, variant, samples, folder)
            bits = int8_bits(variant)
            tasks = {name: replace(task, variant=variant, int8_bits=bits) for name, task in manifests.items()}
            save_manifest(folder, tasks, layers)
            compared = _compared(layouts, SharedPredictor.load(folder))
            if not _break_limits(layouts, variant, compared):
                break
        tasks = {name: replace(task, parity=parity(compared[name])) for name, task in tasks.items()}
        save_manifest(folder, tasks, layers)
    agreement = {name: found.agreement for name, found in compared.items()}
    return {"layers": layers, "variant": variant, "tasks": agreement}


def _manifests(layouts: Mapping[str, Layout]) -> dict[str, Manifest]:
    """Return the manifests of the projects.

    Raises:
        InputError: If the models do not make their texts of rows in the same way.
    """
    found = {name: Manifest.load(layout.onnx) for name, layout in layouts.items()}
    first, *others = found
    for name in others:
        if found[name].text_rule != found[first].text_rule:
            raise InputError(
                f"{first} and {name} make their texts differently: train both with the same data.text_column "
                "and data.clean"
            )
    return found


def _write_common(layouts: Mapping[str, Layout], folder: Path) -> None:
    """Write what all tasks share besides the layers: the tokenizer and the phrases."""
    shutil.copyfile(next(iter(layouts.values())).model / TOKENIZER, folder / TOKENIZER)
    save_phrases(folder, _phrases(layouts.values()))


def _phrases(layouts: Iterable[Layout]) -> Iterator[str]:
    """Yield the phrases of the exported models. Those of earlier versions have none."""
    for layout in layouts:
        path = layout.onnx / PHRASES
        yield from sorted(read_phrases(layout.onnx, {PHRASES: path.read_bytes()} if path.exists() else {}))


def _candidates(config: PreTrainedConfig, manifests: Mapping[str, Manifest]) -> list[str]:
    """Return the most exact variant that the projects chose, and the more exact ones, down to fp32.

    All run on a CPU.
    """
    fastest = min(VARIANTS.index(manifest.variant) for manifest in manifests.values())
    left_out = {"fp16", *unavailable(config, VARIANTS)}
    return [variant for variant in VARIANTS[fastest::-1] if variant not in left_out]


def _projects(sources: Sequence[Path]) -> dict[str, Layout]:
    """Return the projects by the names of their folders, which become the names of the tasks."""
    layouts: dict[str, Layout] = {}
    for source in sources:
        found = source.resolve()
        layout = Layout(found if Layout(found).params.exists() else found.parent.parent)
        if not (layout.params.exists() and layout.model.is_dir() and layout.onnx.is_dir()):
            raise InputError(
                f"{source} is not an exported project, nor its artifacts/model folder; "
                f"make it with tokensieve run --project {source}"
            )
        name = layout.root.name
        if not re.fullmatch(r"\w[\w.-]*", name) or suffix_name(name) == PREFIX:
            raise InputError(
                f"{source}: a project named '{name}' cannot name a task; rename it with letters, "
                "digits and . _ - (not 'prefix')"
            )
        if name in layouts:
            raise InputError(
                f"{source} and {layouts[name].root} are both named '{name}', "
                "and the folder's name is the task's; rename one"
            )
        layouts[name] = layout
    return layouts


def _break_limits(layouts: Mapping[str, Layout], variant: str, compared: Mapping[str, Comparison]) -> bool:
    """Return whether a task exceeds the limits of its project's settings."""
    return any(
        choose_variant.violations(variant, compared[name], Settings.load(layout.params).export)
        for name, layout in layouts.items()
    )


def _compared(layouts: Mapping[str, Layout], shared: SharedPredictor) -> dict[str, Comparison]:
    """Compare each task with its PyTorch model, on its texts that were not trained on."""
    compared = {}
    for name, layout in layouts.items():
        manifest = shared.tasks[name]
        untrained = Untrained.load(layout, manifest.labels)
        compared[name] = untrained.compared(shared.logits(untrained.all_texts())[name], manifest.rule)
    return compared
