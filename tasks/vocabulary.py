"""Stage vocabulary: the constructs of the training texts, and the tokenizer, extended if the settings ask for it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.split import load_part
from tokensieve.files import atomic_folder, write_json
from tokensieve.method.constructs import rank_constructs, top_constructs
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.encoder import find_base_model, load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings


def base_folder(layout: Layout, settings: Settings) -> Path:
    """The folder of the base model; a relative one starts at the project, whoever runs the stage."""
    inside = layout.root / settings.base.model
    return find_base_model(str(inside) if inside.is_dir() else settings.base.model)


def vocabulary(layout: Layout, settings: Settings) -> None:
    """Write the constructs, the tokenizer, and what the extension saves."""
    chosen = settings.vocabulary
    train = load_part(layout, "train")
    constructs = rank_constructs(
        train.texts,
        train.labels,
        chosen.max_constructs,
        chosen.max_words,
        chosen.min_texts,
        settings.data.label_separator,
    )
    before = load_tokenizer(base_folder(layout, settings))
    added = choose_new_tokens(before, constructs, chosen.new_tokens) if chosen.new_tokens else {}
    with atomic_folder(layout.vocabulary) as folder:
        after = extend_tokenizer(before, added, folder / "tokenizer")
        write_json(folder / "constructs.json", [asdict(construct) for construct in constructs])
        report: dict[str, Any] = {
            "constructs": len(constructs),
            "added": [after.convert_tokens_to_string([token]) for token in added],
            "tokens_before": sum(map(len, before(train.texts)["input_ids"])),
            "tokens_after": sum(map(len, after(train.texts)["input_ids"])),
            "per_class": top_constructs(constructs),
        }
        report["saved"] = round(1 - report["tokens_after"] / report["tokens_before"], 4)
        write_json(folder / "report.json", report)
