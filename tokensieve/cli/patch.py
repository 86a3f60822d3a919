"""The commands `patch extract`, `apply`, `remove` and `show`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokensieve.cli.command import PREDICT, Answer, Command

if TYPE_CHECKING:
    from tokensieve.model.patch import Patch

ARGUMENTS: dict[str, dict[str, Any]] = {
    "--model": {"required": True, "metavar": "DIR", "help": "fine-tuned model, for example artifacts/model"},
    "--patch": {"required": True, "metavar": "FILE", "help": "patch file written by extract"},
    "--base": {"metavar": "DIR", "help": "base model (default: the one that the model or patch names)"},
    "--output": {"required": True, "metavar": "PATH", "help": "new patch file or model folder"},
    "--json": {"action": "store_true", "help": "print one JSON object"},
}


def extract(options: argparse.Namespace, answer: Answer) -> None:
    """Write the difference between a fine-tuned model and its base model as a patch of a few
    megabytes.
    """
    from tokensieve.model import patch_folders
    from tokensieve.model.encoder import find_base_model
    from tokensieve.model.patch_file import write_patch

    model = Path(options.model)
    patch = patch_folders.extract(
        find_base_model(options.base or patch_folders.read_metadata(model)["base"]), model
    )
    write_patch(patch, Path(options.output))
    answer(_text(_facts(patch, Path(options.output))))


def apply(options: argparse.Namespace, answer: Answer) -> None:
    """Restore the fine-tuned model from its base model and a patch, bit for bit."""
    from tokensieve.model import patch_folders
    from tokensieve.model.encoder import find_base_model
    from tokensieve.model.patch_file import read_patch

    patch = read_patch(Path(options.patch))
    patch_folders.apply(
        patch, find_base_model(options.base or patch.classifier["base"]), Path(options.output)
    )
    answer(f"{options.output} is the fine-tuned model, weights {patch.model_state[:12]}")


def remove(options: argparse.Namespace, answer: Answer) -> None:
    """Restore the base model from a fine-tuned model and its patch, bit for bit."""
    from tokensieve.model import patch_folders
    from tokensieve.model.patch_file import read_patch

    patch = read_patch(Path(options.patch))
    patch_folders.remove(patch, Path(options.model), Path(options.output))
    answer(f"{options.output} is the base {patch.classifier['base']}, weights {patch.base_state[:12]}")


def show(options: argparse.Namespace, answer: Answer) -> None:
    """Print the base model, the labels and the changed rows per tensor of a patch."""
    from tokensieve.model.patch_file import read_patch

    facts = _facts(read_patch(Path(options.patch)), Path(options.patch))
    answer(json.dumps(facts, ensure_ascii=False) if options.json else _text(facts))


def _arguments(*flags: str) -> Callable[[argparse.ArgumentParser], None]:
    def add(parser: argparse.ArgumentParser) -> None:
        for flag in flags:
            parser.add_argument(flag, **ARGUMENTS[flag])

    return add


def _facts(patch: Patch, path: Path) -> dict[str, Any]:
    """Return what `show` prints: everything except the values."""
    tensors: list[dict[str, Any]] = [
        {
            "tensor": name,
            "kind": change.kind,
            "selected": change.counts[0],
            "of": change.counts[1],
            "values": change.bits.size,
        }
        for name, change in patch.changes.items()
    ]
    hashes = {"base_state": patch.base_state, "model_state": patch.model_state}
    sizes = {
        "values": sum(row["values"] for row in tensors),
        "bytes": path.stat().st_size,
        "files": sorted(patch.files),
    }
    return patch.classifier | hashes | sizes | {"tensors": tensors}


def _text(facts: dict[str, Any]) -> str:
    width = max(len(row["tensor"]) for row in facts["tensors"])
    rows = [
        f"{row['tensor']:{width}}  {row['kind']:7}  {row['selected']:>9,} of {row['of']:>11,}"
        for row in facts["tensors"]
    ]
    return "\n".join(
        [
            f"base     {facts['base']}, weights {facts['base_hash'][:12]} ({facts['base_state'][:12]} as "
            "loaded)",
            f"model    weights {facts['model_state'][:12]}; {facts['pooling']} pooling, "
            f"{facts['max_length']} tokens",
            f"labels   {len(facts['labels'])}: {', '.join(facts['labels'])}",
            f"files    {', '.join(facts['files']) or 'as the base has them'}",
            f"size     {facts['bytes']:,} bytes for {facts['values']:,} values ({4 * facts['values']:,} "
            "bytes)",
            *rows,
        ]
    )


COMMANDS = (
    Command("patch extract", PREDICT, extract, _arguments("--model", "--base", "--output"), extra="train"),
    Command("patch apply", PREDICT, apply, _arguments("--patch", "--base", "--output"), extra="train"),
    Command("patch remove", PREDICT, remove, _arguments("--model", "--patch", "--output"), extra="train"),
    Command("patch show", PREDICT, show, _arguments("--patch", "--json"), extra="train"),
)
