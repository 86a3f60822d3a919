"""Tokenized texts as batches for training: token ids, or the cached states that enter the first trained layer.

The states below a cut never change while training, so they are computed once (step 5 of the method). They are kept
unpadded, one after the other, in memory or in a file that the system pages in.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from tokensieve.classifier import Classifier
from tokensieve.constructs import marked

TOKENS_A_BATCH = 4096


@dataclass(frozen=True)
class Batch:
    """`states` [batch, length, width] entering layer `cut`, or `ids` [batch, length] when `cut` is 0; `mask` [batch, length] int64."""

    ids: Tensor | None
    states: Tensor | None
    mask: Tensor
    cut: int

    def token_states(self, classifier: Classifier) -> Tensor:
        """Token states [batch, length, width] after the last layer."""
        if self.states is None:
            return classifier.encoder(input_ids=self.ids, attention_mask=self.mask).last_hidden_state
        return classifier.suffix(self.states, self.mask, self.cut)

    def features(self, classifier: Classifier) -> Tensor:
        """One vector a text, [batch, width]."""
        return classifier.pooled(self.token_states(classifier), self.mask)

    def logits(self, classifier: Classifier) -> Tensor:
        """Logits [batch, classes]."""
        return classifier.head(self.features(classifier))


def tokenized(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each text, special tokens included, cut at `max_length`."""
    return tokenizer(list(texts), truncation=True, max_length=max_length, add_special_tokens=True)["input_ids"]


def construct_positions(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], constructs: Collection[str], longest: int, max_length: int
) -> list[list[bool]]:
    """For each token of each text, as `tokenized` gives them, whether it belongs to one of `constructs` of 1 to `longest` words."""
    known = frozenset(constructs)
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length, return_offsets_mapping=True)
    return [marked(text, offsets, known, longest) for text, offsets in zip(texts, encoded["offset_mapping"], strict=True)]


def by_length(lengths: Sequence[int], tokens: int = TOKENS_A_BATCH) -> Iterator[list[int]]:
    """Indices in batches of similar length, each of at most `tokens` tokens with padding (but at least one text)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class Inputs:
    """Texts as token ids, each of at least one token, served as padded batches on `device`."""

    def __init__(self, ids: list[list[int]], device: torch.device | str = "cpu") -> None:
        self.ids = ids
        self.lengths = [len(tokens) for tokens in ids]
        self.device = torch.device(device)
        self.cut = 0
        self.key = ""
        self._states: Tensor | None = None
        self._starts = torch.tensor([0, *self.lengths]).cumsum(0).tolist()

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The texts at `indices`, padded on the right to the longest of them."""
        longest = max(self.lengths[i] for i in indices)
        mask = torch.zeros(len(indices), longest, dtype=torch.int64)
        for row, index in enumerate(indices):
            mask[row, : self.lengths[index]] = 1
        if self._states is None:
            ids = torch.zeros(len(indices), longest, dtype=torch.int64)
            for row, index in enumerate(indices):
                ids[row, : self.lengths[index]] = torch.tensor(self.ids[index])
            return Batch(ids.to(self.device), None, mask.to(self.device), 0)
        states = self._states.new_zeros(len(indices), longest, self._states.shape[1])
        for row, index in enumerate(indices):
            states[row, : self.lengths[index]] = self._states[self._starts[index] : self._starts[index + 1]]
        return Batch(None, states.to(self.device), mask.to(self.device), self.cut)

    @torch.inference_mode()
    def freeze(self, classifier: Classifier, cut: int, folder: Path | None = None, key: str = "") -> Inputs:
        """Compute the states that enter layer `cut` once; batches are served from them from now on.

        With `folder`, the states are kept there in a file under `key`, which must name all they depend on, and found
        again. Without, they are held in memory.
        """
        if cut == 0:
            return self
        self.key = key
        width, total = classifier.encoder.config.hidden_size, self._starts[-1]
        done = folder / f"{key}.json" if folder else None
        if folder and done:
            folder.mkdir(parents=True, exist_ok=True)
            # Mapping makes the file, or makes it longer: whether it is whole is asked before.
            whole = done.exists() and _size(folder / f"{key}.f32") == total * width * 4
            states = _mapped(folder / f"{key}.f32", total, width)
            if whole:
                self._states, self.cut = states, cut
                return self
        else:
            states = torch.empty(total, width)
        with tqdm(total=len(self), desc=f"computing layers 0-{cut - 1} once", unit="text", leave=False, disable=None) as bar:
            for indices in by_length(self.lengths):
                batch = self.batch(indices)
                assert batch.ids is not None
                hidden = classifier.prefix(batch.ids, batch.mask, cut).float().cpu()
                for row, index in enumerate(indices):
                    states[self._starts[index] : self._starts[index + 1]] = hidden[row, : self.lengths[index]]
                bar.update(len(indices))
        if done:
            done.write_text(json.dumps({"texts": len(self), "tokens": total, "width": width, "cut": cut}) + "\n", encoding="utf-8")
        self._states, self.cut = states, cut
        return self


def prefix_key(inputs: Inputs, cut: int, *origins: str) -> str:
    """The name under which `freeze` keeps states: a hash of the token ids, the cut and what else they come from."""
    digest = hashlib.sha256(json.dumps([cut, *origins]).encode())
    for tokens in inputs.ids:
        digest.update(array("q", tokens).tobytes() + b"\0")
    return digest.hexdigest()[:32]


def forget(folder: Path, kept: Collection[str]) -> None:
    """Delete the states in `folder` that are kept under other keys than `kept`: other data's or another base's."""
    for path in folder.glob("*.*"):
        if path.stem not in kept:
            path.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mapped(path: Path, rows: int, width: int) -> Tensor:
    return torch.from_file(str(path), shared=True, size=rows * width, dtype=torch.float32).view(rows, width)
