"""Read JSON objects with numbers as they are written, and without repeated keys. Change a value."""

from __future__ import annotations

import json
import re
from collections import Counter
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
        repeated, times = Counter(key for key, _ in pairs).most_common(1)[0]
        raise RepeatedKeyError(f"the object has the key {excerpt(repeated, 40)} {times} times")
    return found


read_object = json.JSONDecoder(object_pairs_hook=_without_repeated_keys, parse_float=WrittenNumber).decode
_PLAIN = json.JSONDecoder(object_pairs_hook=_without_repeated_keys)
read_plain_object = _PLAIN.decode
# For its errors alone: numbers stay texts, because Python refuses to read thousands of digits.
check_keys = json.JSONDecoder(object_pairs_hook=_without_repeated_keys, parse_float=str, parse_int=str).decode


_BLANKS = re.compile(r"[ \t\r\n]*")


def with_value(line: str, key: str, value: str) -> str:
    """Return an object with another value of `key`. All else is as it is written in `line`.

    `line` is a JSON object that has the key, and `value` is JSON, too.
    """
    place = _after_blanks(line, 0) + 1  # after the bracket
    while True:
        name, place = _PLAIN.raw_decode(line, _after_blanks(line, place))
        start = _after_blanks(line, _after_blanks(line, place) + 1)  # after the colon
        _, end = _PLAIN.raw_decode(line, start)
        if name == key:
            return line[:start] + value + line[end:]
        place = _after_blanks(line, end) + 1  # after the comma


def _after_blanks(line: str, place: int) -> int:
    found = _BLANKS.match(line, place)
    return found.end() if found else place


def refuse_whole_document(path: Path, row: int, line: str) -> None:
    """Raise InputError if a file begins as one JSON array or as an object of several lines."""
    start = line.strip()
    if row == 1 and (start in {"{", "["} or start.startswith("[{")):
        kind, query = ("an array", ".[]") if start.startswith("[") else ("an object of several lines", ".")
        raise InputError(
            f"{path} is {kind} and not JSON Lines; write one object per line, for example with "
            f"jq -c '{query}' FILE > NEW.jsonl"
        )
