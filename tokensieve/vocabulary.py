"""Adaptive tokenization: constructs that a WordPiece tokenizer splits become single tokens.

The vocabulary itself is edited, so longer words that begin with a new token keep their remaining pieces ("topup" + "##s").
New embedding rows start as the mean of their pieces' rows (fast vocabulary transfer, Gee et al. 2022).
Not here: BPE and Unigram tokenizers, and multi-word tokens, which WordPiece cannot hold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tokensieve.base import load_tokenizer
from tokensieve.constructs import Construct
from tokensieve.errors import InputError

PIECES = "pieces.json"


def additions(tokenizer: PreTrainedTokenizerFast, constructs: Sequence[Construct], most: int) -> dict[str, list[int]]:
    """The new tokens and the ids of the pieces each replaces: at most `most`, those with the largest product of
    information and tokens saved over the training texts."""
    vocabulary = tokenizer.get_vocab()
    ranked = []
    for construct in constructs:
        if " " in construct.text or construct.text in vocabulary:
            continue
        normal = tokenizer.backend_tokenizer.normalizer
        word = normal.normalize_str(construct.text) if normal else construct.text
        pieces = tokenizer.encode(word, add_special_tokens=False)
        splitter = tokenizer.backend_tokenizer.pre_tokenizer
        whole = splitter.pre_tokenize_str(word) if splitter else [word]
        if word in vocabulary or len(pieces) < 2 or len(whole) != 1 or tokenizer.unk_token_id in pieces:
            continue
        ranked.append((-construct.information * construct.texts * (len(pieces) - 1), word, pieces))
    return {word: pieces for _, word, pieces in sorted(ranked)[:most]}


def extend(tokenizer: PreTrainedTokenizerFast, added: dict[str, list[int]], folder: Path) -> PreTrainedTokenizerFast:
    """Write the tokenizer with the new tokens into `folder`, with the pieces of each beside, and return it.

    The new ids follow the highest one, without a gap.

    Raises:
        InputError: new tokens for a tokenizer that is not WordPiece.
    """
    tokenizer.save_pretrained(folder)
    if added:
        path = folder / "tokenizer.json"
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree["model"]["type"] != "WordPiece":
            raise InputError(
                f"vocabulary.extend is {len(added)}, but the base model's tokenizer is {tree['model']['type']}; "
                "only WordPiece can be extended: set vocabulary.extend=0"
            )
        first = max(tokenizer.get_vocab().values()) + 1
        tree["model"]["vocab"] |= {word: first + i for i, word in enumerate(added)}
        path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
        # The slow tokenizer's word list would now contradict it.
        (folder / "vocab.txt").unlink(missing_ok=True)
    (folder / PIECES).write_text(json.dumps(added, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return load_tokenizer(folder)


def grow(encoder: PreTrainedModel, folder: Path) -> None:
    """Give `encoder`, in place, an embedding row for each token that `extend` added in `folder`: the mean of its pieces' rows."""
    added = json.loads((folder / PIECES).read_text(encoding="utf-8"))
    if not added:
        return
    vocabulary = load_tokenizer(folder).get_vocab()
    ids = [vocabulary[token] for token in added]
    encoder.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    rows: Any = encoder.get_input_embeddings().weight
    with torch.no_grad():
        for row, pieces in zip(ids, added.values(), strict=True):
            rows[row] = rows[pieces].mean(0)
