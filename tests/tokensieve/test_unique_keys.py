"""YAML whose mappings have each key once."""

from __future__ import annotations

import pytest
import yaml

from tokensieve.unique_keys import FastLoader, Loader, RepeatedKeyError

LOADERS = pytest.mark.parametrize("loader", [FastLoader, Loader])


@LOADERS
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data:\n  seed: 7\nmask: {}\ndata:\n  shots: 5\n", "line 4 repeats the key 'data' of line 1"),
        ("data:\n  seed: 7\n  'seed': 8\n", "line 3 repeats the key 'seed' of line 2"),
        ("[{a: 1, a: 2}]", "line 1 repeats the key 'a' of line 1"),
    ],
)
def test_a_repeated_key_is_refused_with_both_lines(loader: type, text: str, words: str) -> None:
    with pytest.raises(RepeatedKeyError, match=words):
        yaml.load(text, loader)


@LOADERS
def test_all_else_is_read_as_by_yaml(loader: type) -> None:
    text = "base: &base {a: 1, b: [2, x]}\nother:\n  <<: *base\n  b: 3\n? [1, 2]\n: 4\n"
    assert yaml.load(text.replace("? [1, 2]\n: 4\n", ""), loader) == {
        "base": {"a": 1, "b": [2, "x"]},
        "other": {"a": 1, "b": 3},
    }
    with pytest.raises(yaml.YAMLError, match="unhashable key"):
        yaml.load(text, loader)
