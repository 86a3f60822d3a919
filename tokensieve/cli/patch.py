"""The commands `patch extract`, `apply`, `remove` and `show`. As in `main.py`, each imports what it needs when it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokensieve.model.patch import Patch

Answer = Callable[[str], None]


def extract(options: argparse.Namespace, answer: Answer) -> None:
    """Write what a fine-tuned model has changed in its base as a patch of a few megabytes."""
    from tokensieve.model import patch_folders
    from tokensieve.model.encoder import find_base_model

    model = Path(options.model)
    patch = patch_folders.extract(
        find_base_model(options.base or patch_folders.read_metadata(model)["base"]), model
    )
    patch.save(Path(options.output))
    answer(_text(_facts(patch, Path(options.output))))


def apply(options: argparse.Namespace, answer: Answer) -> None:
    """Make the fine-tuned model from its base and a patch, bit for bit."""
    from tokensieve.model import patch_folders
    from tokensieve.model.encoder import find_base_model
    from tokensieve.model.patch import Patch

    patch = Patch.load(Path(options.patch))
    patch_folders.apply(
        patch, find_base_model(options.base or patch.classifier["base"]), Path(options.output)
    )
    answer(f"{options.output} is the fine-tuned model, weights {patch.model_state[:12]}")


def remove(options: argparse.Namespace, answer: Answer) -> None:
    """Make the base from a fine-tuned model and its patch, bit for bit."""
    from tokensieve.model import patch_folders
    from tokensieve.model.patch import Patch

    patch = Patch.load(Path(options.patch))
    patch_folders.remove(patch, Path(options.model), Path(options.output))
    answer(f"{options.output} is the base {patch.classifier['base']}, weights {patch.base_state[:12]}")


def show(options: argparse.Namespace, answer: Answer) -> None:
    """Print a patch's base, labels, and changed rows by tensor."""
    from tokensieve.model.patch import Patch

    facts = _facts(Patch.load(Path(options.patch)), Path(options.patch))
    answer(json.dumps(facts, ensure_ascii=False) if options.json else _text(facts))


def add(commands: Any) -> None:
    """Add the group `patch` to the command line's subparsers."""
    about = "Extract, apply, remove and show patches: what turns a base model into a fine-tuned one."
    group = commands.add_parser("patch", help=about, description=about).add_subparsers(
        required=True, metavar="COMMAND"
    )
    arguments: dict[str, dict[str, Any]] = {
        "--model": {
            "required": True,
            "metavar": "DIR",
            "help": "fine-tuned model, for example artifacts/model",
        },
        "--patch": {"required": True, "metavar": "FILE", "help": "what extract wrote"},
        "--base": {"metavar": "DIR", "help": "the base model (default: found by the name that is kept)"},
        "--output": {
            "required": True,
            "metavar": "PATH",
            "help": "what is written: a patch file, or a new model folder",
        },
        "--json": {"action": "store_true", "help": "print one JSON object"},
    }
    for function, flags in {
        extract: ("--model", "--base", "--output"),
        apply: ("--patch", "--base", "--output"),
        remove: ("--model", "--patch", "--output"),
        show: ("--patch", "--json"),
    }.items():
        added = group.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        added.set_defaults(command=function)
        added.add_argument("--debug", action="store_true", help="show stack traces")
        for flag in flags:
            added.add_argument(flag, **arguments[flag])


def _facts(patch: Patch, path: Path) -> dict[str, Any]:
    """What `show` tells: everything but the values."""
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
            f"base     {facts['base']}, weights {facts['base_hash'][:12]} ({facts['base_state'][:12]} as loaded)",
            f"model    weights {facts['model_state'][:12]}; {facts['pooling']} pooling, {facts['max_length']} tokens",
            f"labels   {len(facts['labels'])}: {', '.join(facts['labels'])}",
            f"files    {', '.join(facts['files']) or 'as the base has them'}",
            f"size     {facts['bytes']:,} bytes for {facts['values']:,} values ({4 * facts['values']:,} bytes)",
            *rows,
        ]
    )
