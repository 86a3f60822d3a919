"""Read and write patch files: safetensors with the changes, the files and a checksum over both."""

from __future__ import annotations

import hashlib
import json
import lzma
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_file
from tokensieve.model.patch import Array, Change, Patch, State, state_hash
from tokensieve.truncation import HEAD

FORMAT = 2
FORMAT_WITH_TRUNCATION = 3  # for classifiers that do not read the head of a long text


def write_patch(patch: Patch, path: Path) -> None:
    """Write the patch as safetensors, atomically. The same patch gives the same bytes.

    Raises:
        InputError: If `path` is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; use a file, for example {path / 'patch.safetensors'}")
    changes = {name: [c.kind, c.dtype, c.before, c.after] for name, c in sorted(patch.changes.items())}
    files = [
        [name, *(None if text is None else len(text) for text in pair)]
        for name, pair in sorted(patch.files.items())
    ]
    # Differences of successive indices are mostly below 256. For single entries, the indices
    # themselves would need more space than the values.
    steps = {
        name: np.diff(change.indices, prepend=0).astype(np.uint32) for name, change in patch.changes.items()
    }
    tensors: dict[str, Array] = {f"{name}.indices": _compress(gaps) for name, gaps in steps.items()}
    tensors |= {f"{name}.values": _compress(change.bits) for name, change in patch.changes.items()}
    # All files are one stream, because the two versions of a file have most text in common.
    texts = b"".join(text or b"" for _, pair in sorted(patch.files.items()) for text in pair)
    tensors["files"] = np.frombuffer(lzma.compress(texts), np.uint8)
    default = patch.classifier.get("truncation", HEAD) == HEAD
    version = FORMAT if default else FORMAT_WITH_TRUNCATION
    tree = {"format": version, "classifier": patch.classifier, "changes": changes, "files": files}
    tree |= {"base_state": patch.base_state, "model_state": patch.model_state}
    tree["sha256"] = _checksum(tree, tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    # One metadata entry, because safetensors does not keep the order of several.
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, metadata={"patch": json.dumps(tree, ensure_ascii=False)})


def read_patch(path: Path) -> Patch:
    """Return the patch that `write_patch` wrote.

    Raises:
        InputError: If the file does not exist, is not a patch, has another format, or is damaged.
    """
    tree, tensors = _read(path)
    try:
        return _patch_of(tree, tensors, path)
    except InputError:
        raise
    # A file with a correct checksum can still have any content.
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
            f"{path} is not a complete patch ({type(error).__name__}: {error}). Extract it again"
        ) from None


def _patch_of(tree: dict[str, Any], tensors: dict[str, Array], path: Path) -> Patch:
    if tree.get("format") not in (FORMAT, FORMAT_WITH_TRUNCATION):
        found = excerpt(tree.get("format"))
        raise InputError(
            f"{path} has patch format {found}; this version reads {FORMAT} and {FORMAT_WITH_TRUNCATION}. "
            "Extract it again"
        )
    if tree.get("sha256") != _checksum(tree, tensors):
        raise InputError(
            f"{path} is damaged: its content has another SHA-256 than recorded. Copy it again, or extract it "
            "again"
        )
    if not isinstance(tree["classifier"]["base"], str) or not all(
        isinstance(tree[name], str) for name in ("base_state", "model_state")
    ):
        raise TypeError("base and hashes must be strings")
    changes = {}
    for name, (kind, dtype, before, after) in tree["changes"].items():
        indices = np.cumsum(_decompress(tensors[f"{name}.indices"], np.dtype(np.uint32)), dtype=np.int32)
        bits = _decompress(tensors[f"{name}.values"], np.dtype(f"u{np.dtype(dtype).itemsize}"))
        changes[name] = Change(kind, indices, bits, dtype, before and tuple(before), tuple(after))
    texts, files, start = lzma.decompress(tensors["files"].tobytes()), {}, 0
    for name, *lengths in tree["files"]:
        pair: list[bytes | None] = []
        for length in lengths:
            pair.append(None if length is None else texts[start : start + length])
            start += length or 0
        files[name] = pair[0], pair[1]
    return Patch(tree["classifier"], changes, files, tree["base_state"], tree["model_state"])


def _compress(bits: Array) -> npt.NDArray[np.uint8]:
    """Return the bits, sorted by byte position and compressed.

    Sorting makes the bytes that became 0 adjacent.
    """
    return np.frombuffer(zlib.compress(bits.view(np.uint8).reshape(-1, bits.itemsize).T.tobytes()), np.uint8)


def _decompress(packed: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> Array:
    planes = np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).reshape(-1).view(dtype)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the metadata and the tensors of a patch file."""
    try:
        with safe_open(path, "np") as file:
            tree = json.loads((file.metadata() or {})["patch"])
            return tree, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; use a file that `tokensieve patch extract` wrote") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not a complete patch ({type(error).__name__}); use a file that `tokensieve patch "
            "extract` wrote"
        ) from None


def _checksum(tree: Mapping[str, Any], tensors: State) -> str:
    """Return the SHA-256 over the whole patch except the checksum itself."""
    text = json.dumps({key: value for key, value in tree.items() if key != "sha256"}, sort_keys=True)
    return hashlib.sha256(f"{text}\n{state_hash(tensors)}".encode()).hexdigest()
