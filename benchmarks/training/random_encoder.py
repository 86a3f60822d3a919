"""Write an encoder of BERT's base size with random weights, to measure time and memory.

    python -m benchmarks.training.random_encoder FOLDER [BASE]

Its tokenizer is that of BASE, so that texts have the same tokens. It needs no hub. Scores of models
that are trained on it have no meaning.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from benchmarks.command import reports_input_errors
from tokensieve.model.encoder import MINILM, find_base_model, load_tokenizer

MARK = "random-"  # the beginning of the folder's name: the report shows no scores for such a base


def make(folder: Path, base: str = MINILM) -> None:
    """Write the encoder (12 layers, 768 wide, 110 M parameters) and its tokenizer into `folder`.

    Raises:
        InputError: If `base` is not found, or has no fast tokenizer.
    """
    tokenizer = load_tokenizer(find_base_model(base))
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer)), add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 written, 2 invalid input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.random_encoder",
        description="Write a base-sized encoder of random weights.",
    )
    parser.add_argument(
        "folder", type=Path, help=f"folder to write; its name must begin with {MARK} for the report"
    )
    parser.add_argument(
        "base",
        nargs="?",
        default=MINILM,
        help="model with the tokenizer: a folder or a Hugging Face model id",
    )
    asked = parser.parse_args(arguments)
    make(asked.folder, asked.base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
