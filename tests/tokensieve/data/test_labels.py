from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.data.labels import class_names, encode_targets, joined, names_of


def test_without_a_separator_a_label_is_one_name() -> None:
    assert names_of("a|b", None) == ["a|b"]
    assert class_names(["b", "a", "b"], None) == ["a", "b"]


def test_a_set_of_names_is_sorted_and_holds_each_once_and_no_blank() -> None:
    assert names_of(" b|a||b| ", "|") == ["a", "b"]
    assert names_of("", "|") == names_of(" | ", "|") == []
    assert class_names(["b|a", "", "c|a"], "|") == ["a", "b", "c"]


@given(st.sets(st.text("abc d", min_size=1).map(str.strip).filter(bool)))
def test_joined_names_are_found_again(names: set[str]) -> None:
    assert names_of(joined(names, "|"), "|") == sorted(names)


def test_one_label_is_a_place_and_several_are_zeros_and_ones() -> None:
    one = encode_targets(["b", "a", "b"], ["a", "b"], None)
    assert (one.tolist(), one.dtype) == ([1, 0, 1], torch.int64)
    several = encode_targets(["a|c", "", "b"], ["a", "b", "c"], "|")
    assert (several.tolist(), several.dtype) == ([[1, 0, 1], [0, 0, 0], [0, 1, 0]], torch.float32)


@pytest.mark.parametrize("separator", [None, "|"])
def test_of_no_texts_there_are_no_targets(separator: str | None) -> None:
    assert len(encode_targets([], ["a", "b"], separator)) == 0


@pytest.mark.parametrize("separator", [None, "|"])
def test_a_label_that_is_no_class_is_not_passed_over(separator: str | None) -> None:
    with pytest.raises(KeyError):
        encode_targets(["z"], ["a", "b"], separator)


def test_names_need_no_torch() -> None:
    program = "import sys, tokensieve.data.labels, tokensieve.data.quality, tokensieve.data.split; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
