"""Token ids and hidden states that are computed once, in memory or in memory-mapped files.

Layers that do not train always give the same states (step 5 of the method). Ids and states are
stored without padding, text after text. If they are in files, the process needs 16 bytes of memory
per text.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tokensieve import distributed
from tokensieve.bars import Bar
from tokensieve.data.table_readers import read_rows
from tokensieve.disk import FULL
from tokensieve.errors import InputError
from tokensieve.files import atomic_file, sha256, write_text
from tokensieve.model.batches import Inputs, batches_by_length, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers
from tokensieve.model.products import fast_products
from tokensieve.truncation import HEAD

CHUNK = 4096  # texts that are tokenized at once
FLOAT32 = 4  # bytes


def tokenize_file(
    path: Path,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    folder: Path,
    text: str = "text",
    device: torch.device | str = "cpu",
    truncation: str = HEAD,
) -> Inputs:
    """Return the texts in column `text` of a data file, tokenized by `tokenize`.

    The file is read and tokenized in chunks. The ids are stored in `folder`, where a later call
    finds them. A missing text counts as an empty one.

    Raises:
        InputError: If the file cannot be read.
    """
    # Earlier versions truncated at the side that the files of the model name.
    origins = [sha256(path), tokenizer.backend_tokenizer.to_str(), str(max_length), text, "right"]
    key = _hash(*origins) if truncation == HEAD else _hash(*origins, truncation)
    ids, lengths = folder / f"{key}.ids", folder / f"{key}.lengths"
    if not distributed.all_agree(lengths.exists()) and distributed.local_rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        texts = (str(values[0] or "") for _, _, values in read_rows(path, [text]))
        _write_token_ids(
            texts, lambda chunk: tokenize(tokenizer, chunk, max_length, truncation), ids, lengths
        )
    distributed.all_agree()
    sizes = np.fromfile(lengths, np.int32)
    total = int(sizes.sum(dtype=np.int64))
    mapped = torch.from_file(str(ids), shared=False, size=total, dtype=torch.int32)
    return Inputs.from_flat(mapped, sizes.tolist(), key, device)


def cache_states(
    inputs: Inputs, classifier: Classifier, layer: int, folder: Path | None = None, key: str = ""
) -> Inputs:
    """Compute the hidden states that enter `layer`, and return the same texts with these states.

    If `layer` is the number of layers, the states are pooled: one vector per text, for the head.

    With `folder`, the states are stored there in a file named `key`, and found again by a later
    call. So `key` must depend on everything that the states depend on. The processes of a machine
    share the file, and each computes a part of it. Without `folder`, each process has all states
    in memory.

    Raises:
        InputError: If the disk has no room for the states.
    """
    if layer == inputs.layer:
        return inputs
    pooled = layer == len(encoder_layers(classifier.encoder))
    shape = (len(inputs) if pooled else inputs.tokens), int(classifier.encoder.config.hidden_size)
    if folder is None:
        cached = inputs.with_states(torch.empty(shape), layer, pooled)
        _compute_states(inputs, cached, classifier, list(_batches(inputs)))
        return cached
    return _cache_on_disk(inputs, classifier, layer, pooled, shape, folder, _machine_key(key))


def _cache_on_disk(
    inputs: Inputs,
    classifier: Classifier,
    layer: int,
    pooled: bool,
    shape: tuple[int, int],
    folder: Path,
    key: str,
) -> Inputs:
    path, marker, size = folder / f"{key}.f32", folder / f"{key}.json", shape[0] * shape[1] * FLOAT32
    folder.mkdir(parents=True, exist_ok=True)
    # This is checked before the file is mapped, because mapping creates or extends it.
    complete = marker.exists() and _file_size(path) == size
    if not complete:
        _check_free_disk(path, size, f"the states of {len(inputs):,} texts below layer {layer}")
        _reserve_disk(path, size)
    complete = distributed.all_agree(complete)
    states = torch.from_file(str(path), shared=True, size=shape[0] * shape[1], dtype=torch.float32)
    cached = inputs.with_states(states.view(shape), layer, pooled, key)
    if not complete:
        _compute_states(inputs, cached, classifier, list(distributed.local_shard(_batches(inputs))))
        if distributed.local_rank() == 0:
            metadata = {"texts": len(inputs), "rows": shape[0], "width": shape[1], "cut": layer}
            write_text(marker, json.dumps(metadata) + "\n")
    return cached


def states_key(inputs: Inputs, layer: int, *origins: str) -> str:
    """Return the name of a cache file for `cache_states`.

    It is a hash of the token ids, the layer and `origins`, everything else that the states depend
    on.
    """
    digest = hashlib.sha256(json.dumps([layer, *origins]).encode())
    digest.update(np.array(inputs.lengths, np.int32).data)
    digest.update(inputs.flat_ids.numpy().data)
    return digest.hexdigest()[:32]


def delete_other_states(folder: Path, keys: Collection[str]) -> None:
    """Delete the cache files in `folder` whose names are not in `keys`.

    They belong to other data or to another base model.
    """
    for path in folder.glob("*.*"):
        if path.stem not in keys:
            path.unlink()


@fast_products()
@torch.inference_mode()
def _compute_states(inputs: Inputs, cached: Inputs, classifier: Classifier, batches: list[list[int]]) -> None:
    """Fill the states of `cached` for the texts in `batches`, and wait for all processes."""
    states = cached.states
    assert states is not None
    name = f"computing layers {inputs.layer}-{cached.layer - 1} once"
    with Bar(name=name, unit="text", total=sum(map(len, batches)), hidden=distributed.rank() > 0) as bar:
        for indices in batches:
            batch = inputs.batch(indices)
            if cached.pooled:
                states[indices] = batch.features(classifier).float().cpu()
            else:
                hidden = batch.hidden_states_at(classifier, cached.layer).float().cpu()
                _copy_rows(inputs, indices, hidden, states)
            bar.update(len(indices))
    distributed.all_agree()


def _copy_rows(inputs: Inputs, indices: list[int], hidden: Tensor, states: Tensor) -> None:
    """Copy the padded states `hidden` [batch, length, width] into `states` [tokens, width]."""
    for row, index in enumerate(indices):
        states[inputs.starts[index] : inputs.starts[index + 1]] = hidden[row, : inputs.lengths[index]]


def _batches(inputs: Inputs) -> Iterable[list[int]]:
    return batches_by_length(inputs.lengths, inputs.tokens_per_batch)


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _hash(*origins: str) -> str:
    return _machine_key(hashlib.sha256(json.dumps(origins).encode()).hexdigest()[:32])


def _machine_key(key: str) -> str:
    """Return the name of this machine's own file for `key`.

    Machines do not share files, because on a shared disk their writes become visible late.
    """
    return f"{key}-{distributed.node_rank()}" if distributed.node_rank() else key


def _write_token_ids(
    texts: Iterable[str], encode: Callable[[list[str]], list[list[int]]], path: Path, lengths: Path
) -> None:
    """Write the token ids, and then the number of tokens per text, both int32.

    If the file `lengths` exists, both files are complete.
    """
    texts = iter(texts)
    with (
        atomic_file(lengths) as temporary_lengths,  # entered first, so it is renamed last
        atomic_file(path) as temporary,
        temporary.open("wb") as ids,
        temporary_lengths.open("wb") as sizes,
        Bar(name="tokenizing", unit="text") as bar,
    ):
        while chunk := list(islice(texts, CHUNK)):
            encoded = encode(chunk)
            # numpy's tofile does not report a full disk.
            ids.write(np.fromiter(chain.from_iterable(encoded), np.int32).tobytes())
            sizes.write(np.array([len(text) for text in encoded], np.int32).tobytes())
            bar.update(len(chunk))


def _reserve_disk(path: Path, size: int) -> None:
    """Allocate the blocks of a file before it is mapped.

    On a full disk, a write to a mapped file would end the process.
    """
    if not size or not hasattr(os, "posix_fallocate"):
        return
    with path.open("ab") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in FULL:
                raise OSError(error.errno, error.strerror, str(path)) from None
            # Other errors: this file system cannot reserve blocks.


def _check_free_disk(path: Path, size: int, what: str) -> None:
    """Raise InputError if the disk has no room for a file of `size` bytes."""
    free = shutil.disk_usage(path.parent).free + (path.stat().st_blocks * 512 if path.exists() else 0)
    if size > free:
        raise InputError(
            f"{path}: {what} need {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Free some space, or "
            "compute all layers in every epoch: --set schedule.frozen_layers=0 schedule.head_epochs=0 "
            "schedule.all_layer_epochs=1"
        )
