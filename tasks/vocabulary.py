"""Stage vocabulary: rank the constructs of the training texts, and extend the tokenizer if set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.artifacts import save_constructs
from tasks.split import load_part
from tokensieve.files import atomic_folder, write_json
from tokensieve.fitting import rank
from tokensieve.method.constructs import top_constructs
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.encoder import find_base_model, load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings


def base_folder(layout: Layout, settings: Settings) -> Path:
    """Return the folder of the base model.

    A relative path starts at the project, wherever the stage runs.
    """
    inside = layout.root / settings.base.model
    return find_base_model(str(inside) if inside.is_dir() else settings.base.model)


def vocabulary(layout: Layout, settings: Settings) -> None:
    """Write the constructs, the tokenizer, and a report of the tokens that the extension saves."""
    train = load_part(layout, "train")
    constructs = rank(train, settings)
    before = load_tokenizer(base_folder(layout, settings))
    new_tokens = choose_new_tokens(before, constructs, settings.vocabulary.new_tokens)
    with atomic_folder(layout.vocabulary) as folder:
        after = extend_tokenizer(before, new_tokens, folder / "tokenizer")
        save_constructs(folder, constructs)
        report: dict[str, Any] = {
            "constructs": len(constructs),
            "added": [after.convert_tokens_to_string([token]) for token in new_tokens],
            "tokens_before": sum(map(len, before(train.texts)["input_ids"])),
            "tokens_after": sum(map(len, after(train.texts)["input_ids"])),
            "per_class": top_constructs(constructs),
        }
        report["saved"] = round(1 - report["tokens_after"] / report["tokens_before"], 4)
        write_json(folder / "report.json", report)
