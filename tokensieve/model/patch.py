"""The patch: what turns a base model into a fine-tuned classifier, bit for bit, and back again.

Values are kept as the exclusive or of old and new bits, so that one operation does both: XOR applied to the base gives the
classifier, and applied to the classifier gives the base, which then need not be at hand. New bits would be larger besides:
weights move little, so sign, exponent and leading bits cancel, and what is left compresses. Tensors that grow (new embedding rows)
or are new (the head) count as zeros before.

Not here: the folders a patch is made from and leads to (`patch_folders.py`), and the merging of patches.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_file
from tokensieve.truncation import HEAD

FORMAT = 2
TRUNCATING = (
    3  # of a classifier that does not read the head of a long text, which older versions do not know of
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

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows, columns or entries it holds, and how many the tensor has."""
        rows, size = math.prod(self.after[:1]), math.prod(self.after)
        of = {"rows": rows, "columns": math.prod(self.after[1:])}.get(self.kind, size)
        return (of if self.kind == "whole" else len(self.indices)), of


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
        files = [
            [name, *(None if text is None else len(text) for text in pair)]
            for name, pair in sorted(self.files.items())
        ]
        # Steps from index to index, which are mostly below 256: of single entries, the indices would take more than the values.
        steps = {
            name: np.diff(change.indices, prepend=0).astype(np.uint32)
            for name, change in self.changes.items()
        }
        tensors: dict[str, Array] = {f"{name}.indices": _packed(gaps) for name, gaps in steps.items()}
        tensors |= {f"{name}.values": _packed(change.bits) for name, change in self.changes.items()}
        # All in one stream: a file's two versions share most of their text.
        texts = b"".join(text or b"" for _, pair in sorted(self.files.items()) for text in pair)
        tensors["files"] = np.frombuffer(lzma.compress(texts), np.uint8)
        version = FORMAT if self.classifier.get("truncation", HEAD) == HEAD else TRUNCATING
        tree = {"format": version, "classifier": self.classifier, "changes": changes, "files": files}
        tree |= {"base_state": self.base_state, "model_state": self.model_state}
        tree["sha256"] = _checksum(tree, tensors)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One metadata entry: safetensors writes several in no certain order.
        with atomic_file(path) as beside:
            save_file(tensors, beside, metadata={"patch": json.dumps(tree, ensure_ascii=False)})

    @classmethod
    def load(cls, path: Path) -> Patch:
        """What `save` wrote.

        Raises:
            InputError: no such file, one that is no patch, of another format, or damaged.
        """
        tree, tensors = _read(path)
        try:
            return cls._of(tree, tensors, path)
        except InputError:
            raise
        # A file may have a sound checksum and still hold anything.
        except (
            AttributeError,
            ArithmeticError,
            LookupError,
            TypeError,
            ValueError,
            zlib.error,
            lzma.LZMAError,
        ) as error:
            raise InputError(
                f"{path} is no whole patch ({type(error).__name__}: {error}); extract it again"
            ) from None

    @classmethod
    def _of(cls, tree: dict[str, Any], tensors: dict[str, Array], path: Path) -> Patch:
        if tree.get("format") not in (FORMAT, TRUNCATING):
            found = excerpt(tree.get("format"))
            raise InputError(
                f"{path} is a patch of format {found}, and this version reads {FORMAT} and {TRUNCATING}; extract it again"
            )
        if tree.get("sha256") != _checksum(tree, tensors):
            raise InputError(
                f"{path} is damaged: its content does not have the SHA-256 it names; copy it again, or extract it again"
            )
        if not isinstance(tree["classifier"]["base"], str) or not all(
            isinstance(tree[name], str) for name in ("base_state", "model_state")
        ):
            raise TypeError("the base and the hashes are no texts")
        changes = {}
        for name, (kind, dtype, before, after) in tree["changes"].items():
            indices = np.cumsum(_unpacked(tensors[f"{name}.indices"], np.dtype(np.uint32)), dtype=np.int32)
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


def find_changes(old: State, new: State) -> dict[str, Change]:
    """How `old` became `new`, tensor by tensor, each in its smallest form; unchanged tensors are left out.

    Raises:
        InputError: a tensor that is gone, or has another type or shape, other than more rows.
    """
    gone = sorted(old.keys() - new.keys())
    if gone:
        raise InputError(
            f"tensor {gone[0]} of the base is not in the model; give a model that was fine-tuned from this base"
        )
    found = {name: _change(name, old.get(name), new[name]) for name in sorted(new)}
    return {name: change for name, change in found.items() if change}


def apply_patch(state: State, patch: Patch) -> State:
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
    return _flipped(state, patch, back=False)


def revert_patch(state: State, patch: Patch) -> State:
    """The base's state from the classifier's: the inverse of `apply_patch`.

    Raises:
        InputError: a state that is not the one the patch leads to.
    """
    found = state_hash(state)
    if found != patch.model_state:
        raise InputError(
            f"the patch leads from base {excerpt(patch.classifier['base'])} to weights {patch.model_state[:12]}; "
            f"the model given has {found[:12]}: give the one that the patch was applied to, or extracted from"
        )
    return _flipped(state, patch, back=True)


def state_hash(state: State) -> str:
    """SHA-256 over names, types, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(f"{name} {state[name].dtype} {state[name].shape}\n".encode())
        total.update(np.ascontiguousarray(state[name]).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _change(name: str, old: Array | None, new: Array) -> Change | None:
    """The smallest description of how `old` became `new`; None if it did not."""
    before = None if old is None else old.shape
    if old is not None and (
        (old.dtype, old.shape[1:], old.ndim) != (new.dtype, new.shape[1:], new.ndim)
        or old.shape[:1] > new.shape[:1]
    ):
        raise InputError(
            f"tensor {name} is {new.dtype} {new.shape}, in the base {old.dtype} {before}; a patch can add rows alone"
        )
    bits = _matrix(old, new.shape, new.dtype) ^ _matrix(new, new.shape, new.dtype)
    changed = bits != 0
    if before == new.shape and not changed.any():
        return None
    indices = {
        "rows": changed.any(1),
        "columns": changed.any(0),
        "entries": changed.ravel(),
        "whole": np.zeros(0, bool),
    }
    found = {kind: np.flatnonzero(chosen).astype(np.int32) for kind, chosen in indices.items()}
    one = {"rows": bits[:1].nbytes, "columns": bits[:, :1].nbytes, "entries": bits.itemsize}
    # An index takes about a byte, packed.
    sizes = {kind: len(found[kind]) * (size + 1) for kind, size in one.items()} | {"whole": bits.nbytes}
    kind = min(sizes, key=lambda kind: sizes[kind])
    return Change(
        kind,
        found[kind],
        bits[_place(kind, found[kind], bits.shape)].ravel(),
        new.dtype.name,
        before,
        new.shape,
    )


def _flipped(state: State, patch: Patch, back: bool) -> State:
    """`state` on the other side of the patch, checked by its hash. Arrays that do not change are shared, not copied."""
    result = dict(state)
    try:
        for name, change in patch.changes.items():
            bits = _matrix(result.pop(name, None), change.after, np.dtype(change.dtype))
            place = _place(change.kind, change.indices, bits.shape)
            bits[place] ^= change.bits.reshape(bits[place].shape)
            shape = change.before if back else change.after
            if shape is not None:
                result[name] = bits.ravel()[: math.prod(shape)].view(change.dtype).reshape(shape)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"the patch does not fit the weights it names ({type(error).__name__}: {error}); extract it again"
        ) from None
    if state_hash(result) != (patch.base_state if back else patch.model_state):
        raise InputError("the patch does not lead to the weights it names; extract it again")
    return result


def _matrix(array: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The bits of `array` as unsigned integers, a matrix of the first dimension of `shape` against the rest, zero where it has none."""
    bits = np.zeros((math.prod(shape[:1]), math.prod(shape[1:])), f"u{dtype.itemsize}")
    if array is not None:
        bits.ravel()[: array.size] = np.ascontiguousarray(array).reshape(-1).view(bits.dtype)
    return bits


def _place(kind: str, indices: npt.NDArray[np.int32], shape: tuple[int, ...]) -> Any:
    """What a matrix of `shape` is indexed with to reach the changed part."""
    if kind == "entries":
        return np.unravel_index(indices, shape)
    return {
        "rows": (indices, slice(None)),
        "columns": (slice(None), indices),
        "whole": (slice(None), slice(None)),
    }[kind]


def _packed(bits: Array) -> npt.NDArray[np.uint8]:
    """Compressed byte plane by byte plane, so that the planes that cancelled stand together."""
    return np.frombuffer(zlib.compress(bits.view(np.uint8).reshape(-1, bits.itemsize).T.tobytes()), np.uint8)


def _unpacked(packed: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> Array:
    planes = np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).reshape(-1).view(dtype)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The metadata and the tensors of a patch file."""
    try:
        with safe_open(path, "np") as file:
            tree = json.loads((file.metadata() or {})["patch"])
            return tree, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; give a file that `tokensieve patch extract` wrote"
        ) from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is no whole patch ({type(error).__name__}); give a file that `tokensieve patch extract` wrote"
        ) from None


def _checksum(tree: Mapping[str, Any], tensors: State) -> str:
    """SHA-256 over all of a patch file but the checksum itself."""
    text = json.dumps({key: value for key, value in tree.items() if key != "sha256"}, sort_keys=True)
    return hashlib.sha256(f"{text}\n{state_hash(tensors)}".encode()).hexdigest()
