"""Measure into how many tokens a tokenizer divides the informative words of a task.

An extended vocabulary (step 2) saves about what this finds. `model.word_pieces` measures all
words of the texts instead, to see whether a tokenizer knows their language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from tokensieve.inference.words import count_words
from tokensieve.method.constructs import Construct
from tokensieve.model.batches import token_counts

BEFORE = "a"  # a word before each word: some tokenizers divide the first word of a text differently


@dataclass(frozen=True)
class Fragmentation:
    """How a tokenizer divides the constructs of one word.

    Attributes:
        words: The number of these constructs.
        divided: The share of them that are several tokens.
        tokens_per_word: The mean number of tokens.
        excess_tokens: The tokens of the training texts beyond one per word. Each word is counted
            once per text that has it.
    """

    words: int
    divided: float
    tokens_per_word: float
    excess_tokens: int


def measure_fragmentation(
    tokenizer: PreTrainedTokenizerFast, constructs: Sequence[Construct]
) -> Fragmentation:
    """Return how `tokenizer` divides the constructs of one word, as they are within a text."""
    words = [own for own in constructs if count_words(own.text) == 1]
    before, *counts = token_counts(tokenizer, [BEFORE, *(f"{BEFORE} {own.text}" for own in words)])
    tokens = [max(1, count - before) for count in counts]
    size = max(len(words), 1)
    return Fragmentation(
        words=len(words),
        divided=round(sum(count > 1 for count in tokens) / size, 4),
        tokens_per_word=round(sum(tokens) / size, 3),
        excess_tokens=sum(own.texts * (count - 1) for own, count in zip(words, tokens, strict=True)),
    )
