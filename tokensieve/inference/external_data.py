"""Find the files from which an ONNX graph reads weights, without the package onnx.

The names of these files are in the graph, a protocol buffer, which is parsed here. ONNX Runtime
opens such a file by its name. The hash of the graph does not cover the content of the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

# The messages of onnx.proto that may contain a tensor, by the number of their field.
_GRAPH, _FUNCTION, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _ENTRY = (
    "graph",
    "function",
    "node",
    "attribute",
    "tensor",
    "sparse",
    "entry",
)
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: _GRAPH, 20: "training", 25: _FUNCTION},
    "training": {1: _GRAPH, 2: _GRAPH},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {13: _ENTRY},
}
_VARINT, _EIGHT, _BYTES, _START, _END, _FOUR = 0, 1, 2, 3, 4, 5
Content = bytes | mmap.mmap
MAX_DEPTH = 100  # levels of nested messages: protocol buffers refuse more


def external_files(path: Path) -> list[str]:
    """Return the names of the files from which the graph at `path` reads weights, each once.

    If the file at `path` is not a graph, there are none, and ONNX Runtime refuses it later.
    """
    if not path.stat().st_size:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return external_names(content)


def external_names(content: Content) -> list[str]:
    """Return the names of the files from which a graph in memory reads weights."""
    return list(dict.fromkeys(_locations(content, 0, len(content), "model", 0)))


def _locations(content: Content, at: int, end: int, kind: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        return
    if kind == _ENTRY:
        parts = {number: content[start:stop] for number, start, stop in _parts(content, at, end)}
        if parts.get(1) == b"location":
            yield parts.get(2, b"").decode("utf-8", "replace")
        return
    for number, start, stop in _parts(content, at, end):
        inner = _FIELDS[kind].get(number)
        if inner:
            yield from _locations(content, start, stop, inner, depth + 1)


def _parts(content: Content, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number, the start and the end of each field of type bytes in a message.

    The iteration ends at the first byte that does not begin a field.
    """
    while at < end:
        key, at = _varint(content, at, end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _, at = _varint(content, at, end)
        elif wire in (_EIGHT, _FOUR):
            at += 8 if wire == _EIGHT else 4
        elif wire == _BYTES:
            length, at = _varint(content, at, end)
            if at + length > end:
                return
            yield number, at, at + length
            at += length
        elif wire not in (_START, _END):
            return


def _varint(content: Content, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = content[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            break
    return value, at
