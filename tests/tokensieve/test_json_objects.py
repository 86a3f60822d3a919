from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter, ValidationError

from tokensieve.json_objects import (
    RepeatedKeyError,
    WrittenNumber,
    check_keys,
    read_object,
    read_plain_object,
    with_value,
)

PYDANTIC: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
MARKS = [*"{}[],: \n\té\ufeff\x00"]
VALUES = ["NaN", "-Infinity", "1", "-0.5e9", "9" * 5000, "null", "true", '""', '"é"', '"\\ud800"']
PIECES = st.sampled_from([*MARKS, *VALUES, '"a"', '"b"', '"\\u0061"'])


@pytest.mark.parametrize("read", [read_object, read_plain_object, check_keys])
def test_a_repeated_key_is_refused_however_deep_and_however_written(read: Callable[[str], object]) -> None:
    for text in ('{"a": 1, "a": 1}', '{"b": [{"a": 1, "\\u0061": 2}]}'):
        with pytest.raises(RepeatedKeyError, match="the object has the key 'a' 2 times"):
            read(text)
    keys = ", ".join(f'"{number}": 0' for number in range(50_000))  # no comparison of each pair of keys
    with pytest.raises(RepeatedKeyError, match="the object has the key '7' 3 times"):
        read(f'{{{keys}, "7": 1, "7": 2}}')


def test_numbers_are_read_as_written() -> None:
    found = read_object('{"a": 1.10, "b": 1e400, "c": 5}')
    assert (found, type(found["a"])) == ({"a": "1.10", "b": "1e400", "c": 5}, WrittenNumber)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=9).map("".join))
def test_what_the_server_reads_has_its_keys_checked_without_other_errors(text: str) -> None:
    try:
        PYDANTIC.validate_json(text.encode())
    except ValidationError:
        return
    try:
        check_keys(text)
    except RepeatedKeyError:
        assert text.count(":") > 1


def test_a_value_is_changed_in_place() -> None:
    line = '\t{ "l\\u0061" : [1.0, {"l": 2}] ,"l":1.10 , "x" : {"l": 3.0}}\r\n'
    assert with_value(line, "l", '"é"') == line.replace("1.10", '"é"')
    assert with_value(line, "la", "7") == line.replace('[1.0, {"l": 2}]', "7")
    assert json.loads(with_value(line, "x", "null"))["x"] is None
