"""Tokenized texts as padded batches of token ids, or of cached hidden states (`state_cache.py`)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tokensieve.inference.token_ids import replace_surrogates
from tokensieve.model.classifier import Classifier
from tokensieve.model.products import fast_attention
from tokensieve.truncation import HEAD, head_and_tail

# Tokens per batch if no gradients are needed. Larger batches are slower on a CPU, because memory
# access costs more time than larger matrix products save.
TOKENS_PER_BATCH = {"cpu": 512, "cuda": 8192}
TEXTS_PER_COUNT = 256  # texts whose tokens are counted at once


@dataclass(frozen=True)
class Batch:
    """Padded texts: token ids, or cached hidden states from which the forward pass continues.

    Attributes:
        ids: Token ids, int64 [batch, length], if `layer` is 0, otherwise None.
        states: Hidden states that enter `layer`, float32 [batch, length, width]. If `layer` is the
            number of layers, they are pooled states [batch, width], which enter the head. None if
            `layer` is 0.
        attention_mask: int64 [batch, length], 1 for a token and 0 for padding.
        layer: The layer from which the forward pass continues.
    """

    ids: Tensor | None
    states: Tensor | None
    attention_mask: Tensor
    layer: int

    def hidden_states(self, classifier: Classifier) -> Tensor:
        """Return the hidden states [batch, length, width] after the last layer."""
        mask = self.attention_mask
        with fast_attention(mask):
            if self.states is None:
                return classifier.encoder(input_ids=self.ids, attention_mask=mask).last_hidden_state
            return classifier.last_hidden_state_from(self.states, mask, self.layer)

    def hidden_states_at(self, classifier: Classifier, layer: int) -> Tensor:
        """Return the hidden states [batch, length, width] that enter `layer`.

        `layer` is the batch's own layer or a higher one.
        """
        if self.states is not None and layer == self.layer:
            return self.states
        with fast_attention(self.attention_mask):
            if self.states is not None:
                return classifier.forward_layers(self.states, self.attention_mask, self.layer, layer)
            assert self.ids is not None
            return classifier.hidden_states_at(self.ids, self.attention_mask, layer)

    def features(self, classifier: Classifier) -> Tensor:
        """Return one vector per text, [batch, width]."""
        if self.states is not None and self.states.dim() == 2:
            return self.states
        return classifier.pool(self.hidden_states(classifier), self.attention_mask)

    def logits(self, classifier: Classifier) -> Tensor:
        """Return the logits [batch, classes]."""
        return classifier.head(self.features(classifier))


class Inputs:
    """Tokenized texts of at least one token each, served as padded batches on `device`.

    Attributes:
        lengths: The number of tokens of each text.
        flat_ids: All token ids, text after text, int32 [tokens].
        starts: The start of each text in `flat_ids`, and the end of the last, int64 [texts + 1].
        layer: The layer that batches enter. For layer 0, batches contain token ids.
        states: The hidden states that enter `layer`, float32 [tokens, width]; None for layer 0.
        pooled: Whether `states` has pooled states instead, float32 [texts, width], for the head.
        tokens_per_batch: The number of tokens per batch that suits `device`.
        keys: The names of the cache files of these inputs (`state_cache.delete_other_states`).
    """

    states: Tensor | None

    def __init__(self, ids: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> None:
        flat = np.fromiter(chain.from_iterable(ids), np.int32)
        self._set(torch.from_numpy(flat), [len(text) for text in ids], (), device)

    @classmethod
    def from_flat(
        cls, flat_ids: Tensor, lengths: list[int], key: str, device: torch.device | str = "cpu"
    ) -> Inputs:
        """Return inputs from token ids, int32 [tokens], of texts with `lengths` tokens.

        `key` is the name of the cache file that the ids come from.
        """
        inputs = cls.__new__(cls)
        inputs._set(flat_ids, lengths, (key,), device)
        return inputs

    def _set(
        self, flat_ids: Tensor, lengths: list[int], keys: tuple[str, ...], device: torch.device | str
    ) -> None:
        self.lengths, self.flat_ids, self.keys, self.device = lengths, flat_ids, keys, torch.device(device)
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.layer, self.states, self.pooled = 0, None, False
        self.tokens_per_batch = TOKENS_PER_BATCH["cpu" if self.device.type == "cpu" else "cuda"]

    def with_states(self, states: Tensor, layer: int, pooled: bool, key: str = "") -> Inputs:
        """Return the same texts with `states` that enter `layer`.

        The states are float32 [tokens, width], or [texts, width] if `pooled`. `key` is the name of
        their cache file, if there is one.
        """
        inputs = copy.copy(self)
        inputs.states, inputs.layer, inputs.pooled = states, layer, pooled
        inputs.keys = (*self.keys, key) if key else self.keys
        return inputs

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """The number of tokens of all texts together."""
        return int(self.starts[-1])

    def token_ids(self, index: int) -> Tensor:
        """Return the token ids of one text, int32 [length]."""
        return self.flat_ids[self.starts[index] : self.starts[index + 1]]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the texts at `indices`, padded on the right to the longest of them."""
        if self.states is not None and self.pooled:
            mask = torch.ones(len(indices), 1, dtype=torch.int64)
            return Batch(None, self.states[list(indices)].to(self.device), mask, self.layer)
        longest = max(self.lengths[i] for i in indices)
        mask = torch.zeros(len(indices), longest, dtype=torch.int64)
        for row, index in enumerate(indices):
            mask[row, : self.lengths[index]] = 1
        if self.states is None:
            ids = torch.zeros(len(indices), longest, dtype=torch.int64)
            for row, index in enumerate(indices):
                ids[row, : self.lengths[index]] = self.token_ids(index)
            return Batch(ids.to(self.device), None, mask.to(self.device), 0)
        states = self.states.new_zeros(len(indices), longest, self.states.shape[1])
        for row, index in enumerate(indices):
            states[row, : self.lengths[index]] = self.states[self.starts[index] : self.starts[index + 1]]
        return Batch(None, states.to(self.device), mask.to(self.device), self.layer)


def tokenize(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int, truncation: str = HEAD
) -> list[list[int]]:
    """Return the token ids of each text, with special tokens.

    A text with more than `max_length` tokens is truncated (`truncation.py`).
    """
    return _encode(tokenizer, texts, max_length, truncation)["input_ids"]


def token_offsets(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int, truncation: str = HEAD
) -> list[list[tuple[int, int]]]:
    """Return the place in its text of each token that `tokenize` returns.

    It is the index of the first character, and the index after the last character. It is (0, 0) for
    special tokens.
    """
    return _encode(tokenizer, texts, max_length, truncation, return_offsets_mapping=True)["offset_mapping"]


def token_counts(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each whole text, with special tokens.

    This call switches off truncation and padding in `tokenizer`.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    # The tokenizer refuses lone surrogates. Another check reports them.
    clean = list(map(replace_surrogates, texts))
    chunks = (clean[start : start + TEXTS_PER_COUNT] for start in range(0, len(clean), TEXTS_PER_COUNT))
    return [len(encoding.ids) for chunk in chunks for encoding in backend.encode_batch_fast(chunk)]


def batches_by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield the indices of texts in batches of similar length.

    A batch has at most `tokens` tokens, with padding, but at least one text.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _encode(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    max_length: int,
    truncation: str,
    **options: bool,
) -> dict[str, list[list[Any]]]:
    if truncation == HEAD:
        return dict(tokenizer(list(texts), truncation=True, max_length=max_length, **options))
    whole = tokenizer(list(texts), truncation=False, verbose=False, **options)
    return {name: [head_and_tail(tokens, max_length) for tokens in column] for name, column in whole.items()}
