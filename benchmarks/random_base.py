"""An encoder of BERT's base size with random weights, for time and memory alone: `python -m benchmarks.random_base FOLDER [BASE]`.

Its tokenizer is that of BASE, so that texts have as many tokens. No hub is needed, and nothing that is learned on it means anything.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from tokensieve.base import MINILM, load_tokenizer, locate

MARK = "random-"  # begins the folder's name, by which the report knows that scores on it say nothing


def make(folder: Path, base: str = MINILM) -> None:
    """Write the encoder (12 layers, 768 wide, 110 M parameters) and its tokenizer into `folder`.

    Raises:
        InputError: `base` is not found, or has no fast tokenizer.
    """
    tokenizer = load_tokenizer(locate(base))
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer)), add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]), *sys.argv[2:3])
