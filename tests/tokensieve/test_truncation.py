"""Truncation by head and by head and tail: what is kept, the same for training and serving, and
refused by what does not know of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.export.triton import config
from tokensieve.inference.manifest import FORMAT, Manifest, read_tree
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.shared_predictor import SharedPredictor
from tokensieve.method.constructs import construct_positions
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.model.patch import Patch
from tokensieve.model.patch_file import read_patch, write_patch
from tokensieve.model.state_cache import tokenize_file
from tokensieve.truncation import HEAD_TAIL, head_and_tail

LONG = "please " + "card " * 40 + "refund"


@given(st.lists(st.integers(), max_size=40), st.integers(4, 20))
def test_both_ends_are_kept_in_equal_parts_and_a_short_text_whole(tokens: list[int], most: int) -> None:
    kept = head_and_tail(tokens, most)
    if len(tokens) <= most:
        assert kept == tokens
    else:
        assert len(kept) == most
        assert (kept[: most - most // 2], kept[most - most // 2 :]) == (
            tokens[: most - most // 2],
            tokens[-(most // 2) :],
        )


def test_training_reads_both_ends_between_the_special_tokens(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    (long,) = tokenize(tokenizer, [LONG], 9, HEAD_TAIL)
    assert tokenizer.convert_ids_to_tokens(long) == [
        "[CLS]",
        "please",
        "card",
        "card",
        "card",
        "card",
        "ref",
        "##und",
        "[SEP]",
    ]
    assert tokenize(tokenizer, ["my card"], 9, HEAD_TAIL) == tokenize(tokenizer, ["my card"], 9)


def test_constructs_are_marked_where_the_kept_tokens_stand(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    marks = construct_positions(tokenizer, {7: LONG}, ["please", "refund"], 1, 9, HEAD_TAIL)
    assert marks == {7: [False, True, False, False, False, False, True, True, False]}


def test_streamed_texts_are_truncated_alike_and_kept_apart(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer, path = load_tokenizer(tiny_model), tmp_path / "train.jsonl"
    Examples.of([LONG, "my card"], ["a", "b"]).save(path)
    for truncation in ("head", HEAD_TAIL, "head"):
        inputs = tokenize_file(path, tokenizer, 9, tmp_path / "kept", truncation=truncation)
        expected = tokenize(tokenizer, [LONG, "my card"], 9, truncation)
        assert [inputs.token_ids(i).tolist() for i in range(2)] == expected


@pytest.mark.parametrize("family", ["bert", "roberta", "qwen2"])
def test_serving_reads_the_ids_that_training_saw(
    family: str, tiny_family: Callable[[str], Path], served: Any, tmp_path: Path
) -> None:
    trained, folder = load_tokenizer(tiny_family(family)), served.write(tmp_path)
    trained.backend_tokenizer.save(
        str(folder / "tokenizer.json")
    )  # as training writes it, whatever the base had
    replace(served.manifest, truncation=HEAD_TAIL).save(folder)
    predictor = Predictor.load(folder, threads=1)

    @settings(max_examples=100, deadline=None)
    @given(texts=st.lists(st.text(max_size=80), min_size=1, max_size=4))
    def check(texts: list[str]) -> None:
        whole = trained(texts, truncation=False, verbose=False)["input_ids"]
        expected = tokenize(trained, texts, served.manifest.max_length, HEAD_TAIL)
        for encoded, ids, all_ids in zip(predictor.tokenize(texts), expected, whole, strict=True):
            assert (encoded.ids, encoded.truncated) == (ids or [0], len(all_ids) > served.manifest.max_length)

    check()


def test_the_end_of_a_long_text_counts_only_with_head_and_tail(served: Any, tmp_path: Path) -> None:
    ends = ["card " * 40 + end for end in ("lost", "balance")]
    for truncation, same in (("head", True), (HEAD_TAIL, False)):
        folder = served.write(tmp_path / truncation)
        replace(served.manifest, truncation=truncation).save(folder)
        predictor = Predictor.load(folder, threads=1)
        first, second = predictor.logits(ends)
        assert np.array_equal(first, second) == same
        assert [answer.truncated for answer in predictor.predict([*ends, "my card"])] == [True, True, False]


def test_a_manifest_of_the_head_is_as_before_and_another_is_refused_by_older_versions(
    served: Any, tmp_path: Path
) -> None:
    folder = served.write(tmp_path)
    tree = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert tree["format"] == 3
    assert "truncation" not in tree
    assert Manifest.load(folder).truncation == "head"
    replace(served.manifest, truncation=HEAD_TAIL).save(folder)
    assert Manifest.load(folder).truncation == HEAD_TAIL
    with pytest.raises(InputError, match="has format '4', this version reads 3"):
        read_tree(folder / "manifest.json", FORMAT)


def test_a_shared_folder_reads_long_texts_as_its_tasks_were_trained(served: Any, tmp_path: Path) -> None:
    from tokensieve.inference.shared_predictor import save_manifest

    folder = served.write_shared(tmp_path / "shared")
    assert json.loads((folder / "shared.json").read_text(encoding="utf-8"))["format"] == 1
    tasks = {
        name: replace(task, truncation=HEAD_TAIL)
        for name, task in SharedPredictor.load(folder, threads=1).tasks.items()
    }
    save_manifest(folder, tasks, layers=1)
    assert json.loads((folder / "shared.json").read_text(encoding="utf-8"))["format"] == 2
    shared = SharedPredictor.load(folder, threads=1)
    first, second = shared.logits(["card " * 40 + end for end in ("lost", "balance")])["intent"]
    assert not np.array_equal(first, second)
    assert shared.tokenize(["card " * 40])[0].truncated


@pytest.mark.parametrize(
    ("facts", "version"), [({}, 2), ({"truncation": "head"}, 2), ({"truncation": HEAD_TAIL}, 3)]
)
def test_a_patch_carries_it_and_is_refused_by_older_versions(
    facts: dict[str, str], version: int, tmp_path: Path
) -> None:
    from safetensors import safe_open

    path = tmp_path / "patch.safetensors"
    classifier = {"base": "minilm", "labels": ["a", "b"]} | facts
    write_patch(Patch(classifier, {}, {}, "", ""), path)
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["patch"])["format"] == version
    assert read_patch(path).classifier == classifier


def test_config_of_triton_has_the_columns(served: Any) -> None:
    assert "truncation" not in config("classifier", served.manifest)
    told = config("classifier", replace(served.manifest, truncation=HEAD_TAIL))
    assert 'key: "truncation"\n  value: { string_value: "head_tail" }' in told
    assert f'key: "max_length"\n  value: {{ string_value: "{served.manifest.max_length}" }}' in told
