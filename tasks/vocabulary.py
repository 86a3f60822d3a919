"""Stage vocabulary: rank the constructs of the training texts, and extend the tokenizer if set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from tasks.artifacts import save_constructs
from tasks.split import load_part
from tokensieve.data.labels import class_names
from tokensieve.files import atomic_folder, write_json
from tokensieve.fitting import rank
from tokensieve.inference.words import count_words
from tokensieve.method.constructs import Construct, top_constructs
from tokensieve.method.fragmentation import measure_fragmentation
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.batches import token_counts
from tokensieve.model.encoder import find_base_model, load_base_tokenizer
from tokensieve.model.word_pieces import divided_example, measure_word_pieces
from tokensieve.project import Layout
from tokensieve.settings import Settings


def base_folder(layout: Layout, settings: Settings) -> Path:
    """Return the folder of the base model.

    A relative path starts at the project, wherever the stage runs.
    """
    return find_base_model(settings.base.model, layout.root)


def vocabulary(layout: Layout, settings: Settings) -> None:
    """Write the constructs, the tokenizer, and a report of the tokens that the extension saves."""
    train = load_part(layout, "train")
    constructs = rank(train, settings)
    before = load_base_tokenizer(base_folder(layout, settings), settings.base.prompt)
    new_tokens = choose_new_tokens(before, constructs, settings.vocabulary.new_tokens)
    with atomic_folder(layout.vocabulary) as folder:
        after = extend_tokenizer(before, new_tokens, folder / "tokenizer")
        save_constructs(folder, constructs)
        tokens = sum(token_counts(before, train.texts))
        per_class = top_constructs(constructs)
        report: dict[str, Any] = {
            "constructs": len(constructs),
            "added": [after.convert_tokens_to_string([token]) for token in new_tokens],
            "tokens_before": tokens,
            "tokens_after": sum(token_counts(after, train.texts)) if new_tokens else tokens,
            "per_class": per_class,
            "without_constructs": [name for name in class_names(train.labels) if name not in per_class],
            "word_pieces": _word_pieces(before, train.texts, constructs),
            "fragmentation": asdict(measure_fragmentation(before, constructs)),
        }
        report["saved"] = round(1 - report["tokens_after"] / report["tokens_before"], 4)
        write_json(folder / "report.json", report)


def _word_pieces(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], constructs: Sequence[Construct]
) -> dict[str, Any]:
    """Return how the base model's tokenizer divides words, with a construct as the example."""
    words = (own.text for own in constructs if len(own.text) > 1 and count_words(own.text) == 1)
    example, pieces = divided_example(tokenizer, words)
    return asdict(measure_word_pieces(tokenizer, texts)) | {"example": example, "pieces": pieces}
