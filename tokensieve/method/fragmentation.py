"""Measure into how many tokens a tokenizer divides the informative words of a task.

An extended vocabulary (step 2) saves about what this finds. `model.word_pieces` measures all
words of the texts instead, to see whether a tokenizer knows their language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from tokensieve.inference.words import count_words, is_unspaced
from tokensieve.method.constructs import Construct

# What is before each word, because some tokenizers divide the first word of a text differently. In
# scripts without spaces, a space would be a token of its own.
SPACED, UNSPACED = ("a", "a "), (".", ".")


@dataclass(frozen=True)
class Fragmentation:
    """How a tokenizer divides the constructs of one word.

    Attributes:
        words: The number of these constructs.
        divided: The share of them that are several tokens.
        unknown: The share of them that have a token for unknown characters.
        tokens_per_word: The mean number of tokens.
        excess_tokens: The tokens of the training texts beyond one per word. Each word is counted
            once per text that has it.
    """

    words: int
    divided: float
    unknown: float
    tokens_per_word: float
    excess_tokens: int


def measure_fragmentation(
    tokenizer: PreTrainedTokenizerFast, constructs: Sequence[Construct]
) -> Fragmentation:
    """Return how `tokenizer` divides the constructs of one word, as they are within a text."""
    words = [own for own in constructs if count_words(own.text) == 1]
    found = [_added_tokens(tokenizer, own.text) for own in words]
    tokens = [max(1, count) for count, _ in found]
    size = max(len(words), 1)
    return Fragmentation(
        words=len(words),
        divided=round(sum(count > 1 for count in tokens) / size, 4),
        unknown=round(sum(has_unknown for _, has_unknown in found) / size, 4),
        tokens_per_word=round(sum(tokens) / size, 3),
        excess_tokens=sum(own.texts * (count - 1) for own, count in zip(words, tokens, strict=True)),
    )


def _added_tokens(tokenizer: PreTrainedTokenizerFast, word: str) -> tuple[int, bool]:
    """Return how many tokens `word` adds to a text, and whether one of them is unknown."""
    alone, before = UNSPACED if is_unspaced(word) else SPACED
    first, both = tokenizer([alone, before + word], add_special_tokens=False, verbose=False)["input_ids"]
    return len(both) - len(first), tokenizer.unk_token_id in both and tokenizer.unk_token_id not in first
