"""Measure into how many tokens a tokenizer divides words: whether it knows the language of texts.

A tokenizer that was made for a language has most of its words as single tokens. It divides words of
other languages into many pieces, or does not know their characters at all. Models are then less
accurate (Rust et al. 2021, aclanthology.org/2021.acl-long.243).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerFast

from tokensieve.inference.token_ids import replace_surrogates
from tokensieve.inference.words import word_spans

MOST_TEXTS = 2_000  # that are looked at
MOST_CHARACTERS = 2_000  # of a text


@dataclass(frozen=True)
class WordPieces:
    """How a tokenizer divides the words of texts.

    Attributes:
        words: The number of words that were looked at.
        divided: The share of the words that have several tokens, or an unknown one.
        unknown: The share of the words with an unknown token.
        tokens_per_word: The mean number of tokens.
    """

    words: int
    divided: float
    unknown: float
    tokens_per_word: float


def measure_word_pieces(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> WordPieces:
    """Return how `tokenizer` divides the words of `texts`. Of many texts, a sample is looked at."""
    words = divided = unknown = tokens = 0
    for text in texts[:: -(-len(texts) // MOST_TEXTS) or 1]:
        for pieces in _pieces_of_words(tokenizer, text[:MOST_CHARACTERS]):
            is_unknown = tokenizer.unk_token_id in pieces
            words += 1
            tokens += len(pieces)
            unknown += is_unknown
            divided += is_unknown or len(pieces) > 1
    size = max(words, 1)
    return WordPieces(words, round(divided / size, 4), round(unknown / size, 4), round(tokens / size, 2))


def divided_example(tokenizer: PreTrainedTokenizerFast, words: Iterable[str]) -> tuple[str, list[str]]:
    """Return the first of `words` that is divided, and its tokens. Both are empty if none is."""
    for word in words:
        found = _encode(tokenizer, word)
        pieces = list(zip(found["input_ids"], found["offset_mapping"], strict=True))
        if len(pieces) > 1 or any(token == tokenizer.unk_token_id for token, _ in pieces):
            unknown = str(tokenizer.unk_token)
            return word, [
                unknown if token == tokenizer.unk_token_id else word[start:end]
                for token, (start, end) in pieces
            ]
    return "", []


def _pieces_of_words(tokenizer: PreTrainedTokenizerFast, text: str) -> Iterator[list[int]]:
    """Yield the ids of the tokens of each word of `text`. Words without a token are left out."""
    found = _encode(tokenizer, text)
    pieces = list(zip(found["input_ids"], found["offset_mapping"], strict=True))
    first = 0
    for start, end in word_spans(text):
        while first < len(pieces) and pieces[first][1][1] <= start:
            first += 1
        last = first
        while last < len(pieces) and pieces[last][1][0] < end:
            last += 1
        if last > first:
            yield [token for token, _ in pieces[first:last]]


def _encode(tokenizer: PreTrainedTokenizerFast, text: str) -> dict[str, Any]:
    clean = replace_surrogates(text)
    return dict(tokenizer(clean, add_special_tokens=False, return_offsets_mapping=True, verbose=False))
