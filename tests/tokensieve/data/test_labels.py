from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tokensieve.data.labels import class_names, encode_targets


def test_class_names_are_sorted_and_each_is_there_once() -> None:
    assert class_names([("b",), ("a",), ("b",)]) == ["a", "b"]
    assert class_names([("a", "b"), (), ("a", "c")]) == ["a", "b", "c"]


def test_single_label_targets_are_indices_and_multi_label_targets_zeros_and_ones() -> None:
    one = encode_targets([("b",), ("a",), ("b",)], ["a", "b"], multi_label=False)
    assert (one.tolist(), one.dtype) == ([1, 0, 1], torch.int64)
    several = encode_targets([("a", "c"), (), ("b",)], ["a", "b", "c"], multi_label=True)
    assert (several.tolist(), several.dtype) == ([[1, 0, 1], [0, 0, 0], [0, 1, 0]], torch.float32)


@pytest.mark.parametrize("multi_label", [False, True])
def test_no_texts_give_no_targets(multi_label: bool) -> None:
    assert len(encode_targets([], ["a", "b"], multi_label)) == 0


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_label_that_is_not_a_class_is_an_error(multi_label: bool) -> None:
    with pytest.raises(KeyError):
        encode_targets([("z",)], ["a", "b"], multi_label)


@pytest.mark.parametrize("labels", [(), ("a", "b")])
def test_a_single_label_text_needs_exactly_one_label(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="values to unpack"):
        encode_targets([labels], ["a", "b"], multi_label=False)


def test_labels_quality_and_split_import_no_torch() -> None:
    program = (
        "import sys, tokensieve.data.labels, tokensieve.data.quality, tokensieve.data.split; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
