"""The patch: what turns a base model into a fine-tuned classifier, bit for bit, and back again.

Values are kept as the exclusive or of old and new bits, so that one operation does both: XOR applied to the base gives the
classifier, and applied to the classifier gives the base, which then need not be at hand. New bits would be larger besides:
weights move little, so sign, exponent and leading bits cancel, and what is left compresses. Tensors that grow (new embedding rows)
or are new (the head) count as zeros before.

"The base" is what a classifier starts from: the encoder as `load_encoder` reads it, in float32 and without pooler or language
modelling head, written as transformers writes it. Removing a patch gives that, not the parts of the published files that no
classifier has.

Not here: merging patches, and models that were not fine-tuned from the base they name.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from tokensieve.base import load_encoder, load_tokenizer, quiet, weights_hash
from tokensieve.errors import InputError, excerpt
from tokensieve.folder import read_json, replaced, write_json
from tokensieve.vocabulary import PIECES

FORMAT = 1
WEIGHTS, HEAD, FACTS = "model.safetensors", "head.safetensors", "classifier.json"
POOLING = "1_Pooling/config.json"
# What makes a model beside its weights. A patch writes files of these names alone, whatever it holds.
FILES = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "chat_template.jinja", PIECES, POOLING),
)

Array = npt.NDArray[Any]
# Arrays by the names of `Classifier.state_dict`: "encoder.…" and "head.…".
State = Mapping[str, Array]


@dataclass(frozen=True)
class Change:
    """The changed part of one tensor: all of it ("whole"), or its "rows", "columns" or "entries" at `indices` (int32, ascending).

    `bits` is old XOR new as unsigned integers. `before` is the tensor's shape in the base, None where it has no such tensor;
    `after` has at least as many rows. A tensor of other than two dimensions counts as a matrix of its first against the rest.
    """

    kind: str
    indices: npt.NDArray[np.int32]
    bits: Array
    dtype: str
    before: tuple[int, ...] | None
    after: tuple[int, ...]


@dataclass(frozen=True)
class Patch:
    """The changes by tensor, the files that differ as (base's, classifier's), and what stands in classifier.json.

    `base_state` and `model_state` are the hashes of what the patch goes between.
    """

    classifier: dict[str, Any]
    changes: dict[str, Change]
    files: dict[str, tuple[bytes | None, bytes | None]]
    base_state: str
    model_state: str

    def save(self, path: Path) -> None:
        """Write as safetensors, beside and then renamed. Equal patches give equal bytes."""
        if path.is_dir():
            raise InputError(f"{path} is a folder; give a file, for example {path / 'patch.safetensors'}")
        changes = {name: [c.kind, c.dtype, c.before, c.after] for name, c in sorted(self.changes.items())}
        files = [[name, *(None if text is None else len(text) for text in pair)] for name, pair in sorted(self.files.items())]
        tensors = {f"{name}.indices": change.indices for name, change in self.changes.items()}
        tensors |= {f"{name}.values": _packed(change.bits) for name, change in self.changes.items()}
        # All in one stream: a file's two versions share most of their text.
        texts = b"".join(text or b"" for _, pair in sorted(self.files.items()) for text in pair)
        tensors["files"] = np.frombuffer(lzma.compress(texts), np.uint8)
        tree = {"format": FORMAT, "classifier": self.classifier, "changes": changes, "files": files}
        tree |= {"base_state": self.base_state, "model_state": self.model_state}
        tree["sha256"] = _checksum(tree, tensors)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        # One metadata entry: safetensors writes several in no certain order.
        save_file(tensors, beside, metadata={"patch": json.dumps(tree, ensure_ascii=False)})
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Patch:
        """What `save` wrote.

        Raises:
            InputError: no such file, one that is no patch, of another format, or damaged.
        """
        tree, tensors = _read(path)
        if tree.get("format") != FORMAT:
            raise InputError(f"{path} is a patch of format {excerpt(tree.get('format'))}, and this version reads {FORMAT}; extract it again")
        if tree.get("sha256") != _checksum(tree, tensors):
            raise InputError(f"{path} is damaged: its content does not have the SHA-256 it names; copy it again, or extract it again")
        foreign = [name for name, *_ in tree["files"] if name not in FILES]
        if foreign:
            raise InputError(f"{path} would write file {excerpt(foreign[0])}, which is no part of a model; take patches from `patch extract`")
        changes = {}
        for name, (kind, dtype, before, after) in tree["changes"].items():
            indices = tensors[f"{name}.indices"]
            bits = _unpacked(tensors[f"{name}.values"], np.dtype(f"u{np.dtype(dtype).itemsize}"))
            changes[name] = Change(kind, indices, bits, dtype, before and tuple(before), tuple(after))
        texts, files, start = lzma.decompress(tensors["files"].tobytes()), {}, 0
        for name, *lengths in tree["files"]:
            pair: list[bytes | None] = []
            for length in lengths:
                pair.append(None if length is None else texts[start : start + length])
                start += length or 0
            files[name] = pair[0], pair[1]
        return cls(tree["classifier"], changes, files, tree["base_state"], tree["model_state"])


def extract(base: Path, model: Path) -> Patch:
    """What differs between the base in folder `base` and the classifier that `Classifier.save` wrote into `model`.

    Raises:
        InputError: no such classifier, or one that was fine-tuned from another base.
    """
    new = read_state(model)
    classifier = read_json(model / FACTS) if (model / FACTS).exists() else {}
    missing = [key for key in ("labels", "pooling", "max_length", "base", "base_hash") if key not in classifier]
    if missing or not any(name.startswith("head.") for name in new):
        raise InputError(f"{model} is no fine-tuned classifier ({FACTS} or {HEAD} lacks {', '.join(missing) or 'the head'}); give artifacts/model")
    found = weights_hash(base)
    if found != classifier["base_hash"]:
        raise InputError(
            f"{model} was fine-tuned from {excerpt(classifier['base'])} with weights {classifier['base_hash'][:12]}, "
            f"but {base} has weights {found[:12]}; give the folder of that base with --base"
        )
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_base(base, folder)
        old, texts = read_state(folder), (_files(folder), _files(model))
    lost = sorted(old.keys() - new.keys())
    if lost:
        raise InputError(f"{model} lacks tensor {lost[0]} of its base {base}; fine-tune it again")
    changes = {name: change for name in sorted(new) if (change := _change(name, old.get(name), new[name]))}
    files = {name: (texts[0].get(name), texts[1].get(name)) for name in FILES if texts[0].get(name) != texts[1].get(name)}
    return Patch(classifier, changes, files, state_hash(old), state_hash(new))


def patched(state: State, patch: Patch) -> State:
    """The classifier's state from the base's.

    Raises:
        InputError: a state that is not the base's.
    """
    found = state_hash(state)
    if found != patch.base_state:
        raise InputError(
            f"the patch was made for base {excerpt(patch.classifier['base'])}, whose encoder has weights {patch.base_state[:12]}; "
            f"the model given has {found[:12]}: give that base with --base"
        )
    return _verified({name: array for name, array in _flipped(state, patch, back=False)}, patch.model_state)


def restored(state: State, patch: Patch) -> State:
    """The base's state from the classifier's.

    Raises:
        InputError: a state that is not the one the patch leads to.
    """
    found = state_hash(state)
    if found != patch.model_state:
        raise InputError(
            f"the patch leads to a model with weights {patch.model_state[:12]}, and this one has {found[:12]}; "
            "give the model that the patch was applied to, or extracted from"
        )
    return _verified({name: array for name, array in _flipped(state, patch, back=True)}, patch.base_state)
