"""Read JSON objects with numbers as they are written, and without repeated keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError, excerpt


class WrittenNumber(str):
    """A number with a fraction or an exponent as the file has it, such as 8471.30 or 1e400.

    As a float, they would be 8471.3 and infinite.
    """


class RepeatedKeyError(ValueError):
    """A JSON object has a key twice, so its value is not certain."""


def _without_repeated_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise RepeatedKeyError(f"the object has the key {excerpt(repeated, 40)} {keys.count(repeated)} times")
    return found


read_object = json.JSONDecoder(object_pairs_hook=_without_repeated_keys, parse_float=WrittenNumber).decode
read_plain_object = json.JSONDecoder(object_pairs_hook=_without_repeated_keys).decode


def refuse_whole_document(path: Path, row: int, line: str) -> None:
    """Raise InputError if a file begins as one JSON array or as an object of several lines."""
    start = line.strip()
    if row == 1 and (start in {"{", "["} or start.startswith("[{")):
        kind, query = ("an array", ".[]") if start.startswith("[") else ("an object of several lines", ".")
        raise InputError(
            f"{path} is {kind} and not JSON Lines; write one object per line, for example with "
            f"jq -c '{query}' FILE > NEW.jsonl"
        )
