"""Tokenized texts as batches for training: token ids, or the cached states that enter the lowest layer that trains, or the head.

While the layers below do not change, these states are computed once (step 5 of the method). Ids and states are kept
unpadded, one text after the other, in memory or in files that the system pages in and out: then memory holds 16 bytes a text.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from tokensieve import distributed
from tokensieve.data.examples import rows
from tokensieve.disk import FULL
from tokensieve.errors import InputError
from tokensieve.files import atomic_file, sha256, write_text
from tokensieve.inference.token_ids import replace_surrogates
from tokensieve.method.constructs import tokens_in_constructs
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers
from tokensieve.truncation import HEAD, head_and_tail

# Tokens of a batch that nothing is learned from; on a CPU, memory costs more time above it than larger products save.
TOKENS_A_BATCH = {"cpu": 512, "cuda": 8192}
CHUNK = 4096  # texts that are tokenized at once, when they are streamed


@dataclass(frozen=True)
class Batch:
    """`states` [batch, length, width] entering layer `cut`, or `ids` [batch, length] when `cut` is 0; `mask` [batch, length] int64.

    Where `cut` is the number of layers, `states` [batch, width] enter the head.
    """

    ids: Tensor | None
    states: Tensor | None
    mask: Tensor
    cut: int

    def hidden_states(self, classifier: Classifier) -> Tensor:
        """Token states [batch, length, width] after the last layer."""
        if self.states is None:
            return classifier.encoder(input_ids=self.ids, attention_mask=self.mask).last_hidden_state
        return classifier.last_hidden_state_from(self.states, self.mask, self.cut)

    def hidden_states_at(self, classifier: Classifier, cut: int) -> Tensor:
        """The states [batch, length, width] that enter layer `cut`, at or above that of the batch."""
        if self.states is None:
            assert self.ids is not None
            return classifier.hidden_states_at(self.ids, self.mask, cut)
        return (
            self.states
            if cut == self.cut
            else classifier.forward_layers(self.states, self.mask, self.cut, cut)
        )

    def features(self, classifier: Classifier) -> Tensor:
        """One vector a text, [batch, width]."""
        if self.states is not None and self.states.dim() == 2:
            return self.states
        return classifier.pool(self.hidden_states(classifier), self.mask)

    def logits(self, classifier: Classifier) -> Tensor:
        """Logits [batch, classes]."""
        return classifier.head(self.features(classifier))


def tokenize(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int, truncation: str = HEAD
) -> list[list[int]]:
    """Token ids of each text, special tokens included, at most `max_length`; what `truncation` keeps if there are more."""
    return _encoded(tokenizer, texts, max_length, truncation)["input_ids"]


def token_counts(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each whole text, special tokens included. The tokenizer truncates nothing afterwards."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    # Lone surrogates, which the tokenizer refuses, are another check's to report.
    clean = list(map(replace_surrogates, texts))
    chunks = (clean[start : start + CHUNK // 16] for start in range(0, len(clean), CHUNK // 16))
    return [len(encoding.ids) for chunk in chunks for encoding in backend.encode_batch_fast(chunk)]


def construct_positions(
    tokenizer: PreTrainedTokenizerFast,
    texts: Mapping[int, str],
    constructs: Collection[str],
    longest: int,
    max_length: int,
    truncation: str = HEAD,
) -> dict[int, list[bool]]:
    """For each token of each text, as `tokenized` gives them, whether it belongs to one of `constructs` of 1 to `longest` words."""
    known = frozenset(constructs)
    encoded = _encoded(tokenizer, list(texts.values()), max_length, truncation, return_offsets_mapping=True)
    offsets = zip(texts.items(), encoded["offset_mapping"], strict=True)
    return {place: tokens_in_constructs(text, spans, known, longest) for (place, text), spans in offsets}


def _encoded(
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


def batches_by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
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
    """Texts as token ids, each of at least one token, served as padded batches on `device`.

    `lengths` are the texts' numbers of tokens, `tokens_a_batch` what suits `by_length` on the device, `keys` the names of the files
    that the texts are served from (see `forget`).
    """

    def __init__(self, ids: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> None:
        tokens = np.fromiter(chain.from_iterable(ids), np.int32)
        self._hold(torch.from_numpy(tokens), [len(text) for text in ids], (), device)

    def _hold(
        self, tokens: Tensor, lengths: list[int], keys: tuple[str, ...], device: torch.device | str
    ) -> None:
        self.lengths, self.keys, self.device, self.cut = lengths, keys, torch.device(device), 0
        self.tokens_a_batch = TOKENS_A_BATCH["cpu" if self.device.type == "cpu" else "cuda"]
        self._tokens, self._states, self._pooled = tokens, torch.empty(0), False
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    @classmethod
    def streamed(
        cls,
        path: Path,
        tokenizer: PreTrainedTokenizerFast,
        max_length: int,
        folder: Path,
        text: str = "text",
        device: torch.device | str = "cpu",
        truncation: str = HEAD,
    ) -> Inputs:
        """The texts in the column `text` of a file in one of `dataset.FORMATS`, as `tokenized` gives them; "" for an absent one.

        They are read and tokenized a few thousand at a time, and their ids kept in `folder`, where a later call finds them again.

        Raises:
            InputError: the file cannot be read, as `dataset.rows`.
        """
        origins = [sha256(path), tokenizer.backend_tokenizer.to_str(), str(max_length), text]
        key = _key(*origins) if truncation == HEAD else _key(*origins, truncation)
        tokens, lengths = folder / f"{key}.ids", folder / f"{key}.lengths"
        if not distributed.all_agree(lengths.exists()) and distributed.local_rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            texts = (str(values[0] or "") for _, values in rows(path, [text]))
            _write_tokens(
                texts, lambda chunk: tokenize(tokenizer, chunk, max_length, truncation), tokens, lengths
            )
        distributed.all_agree()
        sizes = np.fromfile(lengths, np.int32)
        inputs = cls.__new__(cls)
        mapped = torch.from_file(
            str(tokens), shared=False, size=int(sizes.sum(dtype=np.int64)), dtype=torch.int32
        )
        inputs._hold(mapped, sizes.tolist(), (key,), device)
        return inputs

    def __len__(self) -> int:
        return len(self.lengths)

    def tokens(self, index: int) -> Tensor:
        """The token ids of one text, int32 [length]."""
        return self._tokens[self._starts[index] : self._starts[index + 1]]

    def batch(self, indices: Sequence[int]) -> Batch:
        """The texts at `indices`, padded on the right to the longest of them."""
        if self._pooled:
            return Batch(
                None,
                self._states[list(indices)].to(self.device),
                torch.ones(len(indices), 1, dtype=torch.int64),
                self.cut,
            )
        longest = max(self.lengths[i] for i in indices)
        mask = torch.zeros(len(indices), longest, dtype=torch.int64)
        for row, index in enumerate(indices):
            mask[row, : self.lengths[index]] = 1
        if self.cut == 0:
            ids = torch.zeros(len(indices), longest, dtype=torch.int64)
            for row, index in enumerate(indices):
                ids[row, : self.lengths[index]] = self.tokens(index)
            return Batch(ids.to(self.device), None, mask.to(self.device), 0)
        states = self._states.new_zeros(len(indices), longest, self._states.shape[1])
        for row, index in enumerate(indices):
            states[row, : self.lengths[index]] = self._states[self._starts[index] : self._starts[index + 1]]
        return Batch(None, states.to(self.device), mask.to(self.device), self.cut)

    @torch.inference_mode()
    def freeze(self, classifier: Classifier, cut: int, folder: Path | None = None, key: str = "") -> Inputs:
        """The same texts, whose batches are served from the states that enter layer `cut`, computed now; where `cut` is the number of
        layers, from one vector a text, which enters the head.

        With `folder`, the states are kept there in a file under `key`, which must name all they depend on, and found
        again; several processes on a machine compute a share each and have one file. Without, they are held in memory, by each
        process for itself.

        Raises:
            InputError: the disk has no room for them.
        """
        if cut == self.cut:
            return self
        frozen = copy.copy(self)
        frozen.cut, frozen._pooled = cut, cut == len(encoder_layers(classifier.encoder))
        width, total = (
            classifier.encoder.config.hidden_size,
            len(self) if frozen._pooled else int(self._starts[-1]),
        )
        batches = list(batches_by_length(self.lengths, self.tokens_a_batch))
        if folder:
            key = _here(key)
            frozen.keys = (*self.keys, key)
            path, done = folder / f"{key}.f32", folder / f"{key}.json"
            folder.mkdir(parents=True, exist_ok=True)
            # Mapping makes the file, or makes it longer: whether it is whole is asked before.
            whole = done.exists() and _size(path) == total * width * 4
            if not whole:
                _refuse_if_full(
                    path, total * width * 4, f"the states of {len(self):,} texts below layer {cut}"
                )
                _reserve(path, total * width * 4)
            whole = distributed.all_agree(whole)
            frozen._states = torch.from_file(
                str(path), shared=True, size=total * width, dtype=torch.float32
            ).view(total, width)
            if whole:
                return frozen
            batches = list(distributed.local_shard(batches))
        else:
            frozen._states = torch.empty(total, width)
        texts = sum(map(len, batches))
        with tqdm(
            total=texts,
            desc=f"computing layers {self.cut}-{cut - 1} once",
            unit="text",
            leave=False,
            disable=distributed.hide_progress(),
        ) as bar:
            for indices in batches:
                batch = self.batch(indices)
                if frozen._pooled:
                    frozen._states[indices] = batch.features(classifier).float().cpu()
                else:
                    hidden = batch.hidden_states_at(classifier, cut).float().cpu()
                    for row, index in enumerate(indices):
                        frozen._states[self._starts[index] : self._starts[index + 1]] = hidden[
                            row, : self.lengths[index]
                        ]
                bar.update(len(indices))
        distributed.all_agree()
        if folder and distributed.local_rank() == 0:
            facts = {"texts": len(self), "rows": total, "width": width, "cut": cut}
            write_text(done, json.dumps(facts) + "\n")
        return frozen


def states_key(inputs: Inputs, cut: int, *origins: str) -> str:
    """The name under which `freeze` keeps states: a hash of the token ids, the cut and what else they come from."""
    digest = hashlib.sha256(json.dumps([cut, *origins]).encode())
    digest.update(np.array(inputs.lengths, np.int32).data)
    digest.update(inputs._tokens.numpy().data)
    return digest.hexdigest()[:32]


def delete_other_states(folder: Path, kept: Collection[str]) -> None:
    """Delete the states in `folder` that are kept under other keys than `kept`: other data's or another base's."""
    for path in folder.glob("*.*"):
        if path.stem not in kept:
            path.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _key(*origins: str) -> str:
    return _here(hashlib.sha256(json.dumps(origins).encode()).hexdigest()[:32])


def _here(key: str) -> str:
    """`key` for the files of this machine: on a disk that several share, each maps files of its own, since others' show up late."""
    return f"{key}-{distributed.node_rank()}" if distributed.node_rank() else key


def _write_tokens(
    texts: Iterable[str], ids_of: Callable[[list[str]], list[list[int]]], path: Path, lengths: Path
) -> None:
    """Write token ids as `ids_of` gives them, then the numbers of tokens: if these exist, both are whole. int32, text after text."""
    texts = iter(texts)
    with (
        atomic_file(lengths) as temporary_lengths,  # entered first, so it is renamed last
        atomic_file(path) as temporary,
        temporary.open("wb") as ids,
        temporary_lengths.open("wb") as sizes,
        tqdm(desc="tokenizing", unit="text", leave=False, disable=None) as bar,
    ):
        while chunk := list(islice(texts, CHUNK)):
            found = ids_of(chunk)
            # Not by numpy's tofile, which on a full disk loses what is short without a word.
            ids.write(np.fromiter(chain.from_iterable(found), np.int32).tobytes())
            sizes.write(np.array([len(text) for text in found], np.int32).tobytes())
            bar.update(len(chunk))


def _reserve(path: Path, size: int) -> None:
    """Take the room of a file that is to be mapped: once the disk is full, a write to it would kill the process."""
    if not size or not hasattr(os, "posix_fallocate"):
        return
    with path.open("ab") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in FULL:
                raise OSError(error.errno, error.strerror, str(path)) from None
            # Others cannot reserve, which is no reason to stop.


def _refuse_if_full(path: Path, size: int, what: str) -> None:
    """Refuse to make a file for which there is no room: a mapped one would end the process without a word."""
    free = shutil.disk_usage(path.parent).free + (path.stat().st_blocks * 512 if path.exists() else 0)
    if size > free:
        raise InputError(
            f"{path}: {what} take {size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; make room, "
            "or compute all layers in every epoch: --set schedule.frozen_layers=0 schedule.head_epochs=0 "
            "schedule.all_layer_epochs=1"
        )
