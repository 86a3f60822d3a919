"""The patch: a small exact difference between a base model and a fine-tuned classifier.

Values are stored as the exclusive or (XOR) of old and new bits. Applied to the base, the patch
gives the classifier; applied to the classifier, it gives the base. The differences are also smaller
than the new values once they are compressed: weights change little, so sign, exponent and leading
bits become 0. New embedding rows and the head count as zeros in the base.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokensieve.errors import InputError, excerpt

Array = npt.NDArray[Any]
# Arrays by the names of `Classifier.state_dict`: "encoder.…" and "head.…".
State = Mapping[str, Array]


@dataclass(frozen=True)
class Change:
    """The changed part of one tensor.

    Attributes:
        kind: rows, columns or entries if the parts at `indices` have changed, or whole. Every
            tensor counts as a matrix: of its first dimension, and of all others together.
        indices: int32, ascending.
        bits: Old XOR new bits, as unsigned integers.
        dtype: The data type of the tensor.
        before: The shape in the base; None if the base has no such tensor.
        after: The shape in the classifier, with at least as many rows.
    """

    kind: str
    indices: npt.NDArray[np.int32]
    bits: Array
    dtype: str
    before: tuple[int, ...] | None
    after: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """The number of changed rows, columns or entries, and the number of all of them."""
        rows, size = math.prod(self.after[:1]), math.prod(self.after)
        of = {"rows": rows, "columns": math.prod(self.after[1:])}.get(self.kind, size)
        return (of if self.kind == "whole" else len(self.indices)), of


@dataclass(frozen=True)
class Patch:
    """The difference between a base model and a classifier.

    Attributes:
        classifier: The content of classifier.json.
        changes: The changed tensors by name.
        files: The content of each changed file, in the base and in the classifier. It is None if
            the file is missing there.
        base_state, model_state: The `state_hash` of the base and of the classifier.
    """

    classifier: dict[str, Any]
    changes: dict[str, Change]
    files: dict[str, tuple[bytes | None, bytes | None]]
    base_state: str
    model_state: str


def find_changes(old: State, new: State) -> dict[str, Change]:
    """Return the changes of the tensors by name, each in its smallest form.

    Raises:
        InputError: If a tensor is missing in `new`, or has another type or another shape there.
            Only more rows are allowed.
    """
    gone = sorted(old.keys() - new.keys())
    if gone:
        raise InputError(
            f"tensor {gone[0]} of the base is not in the model; use a model that was fine-tuned from this "
            "base"
        )
    found = {name: _change(name, old.get(name), new[name]) for name in sorted(new)}
    return {name: change for name, change in found.items() if change}


def apply_patch(state: State, patch: Patch) -> State:
    """Return the state of the classifier from that of the base.

    Raises:
        InputError: If `state` is not that of the base.
    """
    found = state_hash(state)
    if found != patch.base_state:
        raise InputError(
            f"this patch needs base {excerpt(patch.classifier['base'])} (weights {patch.base_state[:12]}), "
            f"but got weights {found[:12]}. Pass the right base with --base"
        )
    return _xor(state, patch, back=False)


def revert_patch(state: State, patch: Patch) -> State:
    """Return the state of the base from that of the classifier: the inverse of `apply_patch`.

    Raises:
        InputError: If `state` is not the result of the patch.
    """
    found = state_hash(state)
    if found != patch.model_state:
        raise InputError(
            f"this patch turns base {excerpt(patch.classifier['base'])} into weights "
            f"{patch.model_state[:12]}, but the model has {found[:12]}. Use the model that the patch was "
            "applied to or extracted from"
        )
    return _xor(state, patch, back=True)


def state_hash(state: State) -> str:
    """Return the SHA-256 over the names, types, shapes and values of the arrays."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(f"{name} {state[name].dtype} {state[name].shape}\n".encode())
        total.update(np.ascontiguousarray(state[name]).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _change(name: str, old: Array | None, new: Array) -> Change | None:
    """Return the smallest form of the change from `old` to `new`; None if they are equal."""
    before = None if old is None else old.shape
    if old is not None and (
        (old.dtype, old.shape[1:], old.ndim) != (new.dtype, new.shape[1:], new.ndim)
        or old.shape[:1] > new.shape[:1]
    ):
        raise InputError(
            f"tensor {name} is {new.dtype} {new.shape}, and {old.dtype} {before} in the base; a patch can "
            "only add rows"
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
    # A compressed index needs about one byte.
    sizes = {kind: len(found[kind]) * (size + 1) for kind, size in one.items()} | {"whole": bits.nbytes}
    kind = min(sizes, key=lambda kind: sizes[kind])
    return Change(
        kind,
        found[kind],
        bits[_index_of(kind, found[kind], bits.shape)].ravel(),
        new.dtype.name,
        before,
        new.shape,
    )


def _xor(state: State, patch: Patch, back: bool) -> State:
    """Return `state` with the changes applied, or reverted if `back`. Its hash is checked.

    Unchanged arrays are shared, not copied.
    """
    result = dict(state)
    try:
        for name, change in patch.changes.items():
            bits = _matrix(result.pop(name, None), change.after, np.dtype(change.dtype))
            place = _index_of(change.kind, change.indices, bits.shape)
            bits[place] ^= change.bits.reshape(bits[place].shape)
            shape = change.before if back else change.after
            if shape is not None:
                result[name] = bits.ravel()[: math.prod(shape)].view(change.dtype).reshape(shape)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"the patch does not fit the weights that it is for ({type(error).__name__}: {error}). Extract "
            "it again"
        ) from None
    if state_hash(result) != (patch.base_state if back else patch.model_state):
        raise InputError("the patch gives other weights than recorded. Extract it again")
    return result


def _matrix(array: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return the bits of `array` as a matrix of unsigned integers, padded with zeros to `shape`.

    The matrix has the first dimension of `shape`, and all others together.
    """
    bits = np.zeros((math.prod(shape[:1]), math.prod(shape[1:])), f"u{dtype.itemsize}")
    if array is not None:
        bits.ravel()[: array.size] = np.ascontiguousarray(array).reshape(-1).view(bits.dtype)
    return bits


def _index_of(kind: str, indices: npt.NDArray[np.int32], shape: tuple[int, ...]) -> Any:
    """Return the index of the changed part in a matrix of `shape`."""
    if kind == "entries":
        return np.unravel_index(indices, shape)
    return {
        "rows": (indices, slice(None)),
        "columns": (slice(None), indices),
        "whole": (slice(None), slice(None)),
    }[kind]
