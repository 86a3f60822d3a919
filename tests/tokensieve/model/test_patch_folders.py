"""Patches of model folders: the classifier from base and patch, the base from classifier and patch,
file by file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel

from tokensieve.errors import InputError
from tokensieve.files import sha256
from tokensieve.method.constructs import Construct
from tokensieve.method.select import select_mask
from tokensieve.method.sparse import sparse_layers
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model import patch_folders
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import (
    encoder_linears,
    load_base_tokenizer,
    load_encoder,
    load_tokenizer,
    weights_hash,
)
from tokensieve.model.patch import Patch
from tokensieve.model.patch_file import read_patch, write_patch
from tokensieve.model.state_cache import cache_states
from tokensieve.settings import Mask, Schedule

LABELS = ["address", "größe", "topup"]


def tuned(base: Path, folder: Path, new_tokens: int = 0, seed: int = 0, prompt: str = "none") -> Path:
    """A classifier on `base` as the finetune stage writes it: rows of two linear layers moved, a
    new head, perhaps new tokens and a prompt.
    """
    tokenizer = load_base_tokenizer(base, prompt)
    words = [Construct("topup", "topup", 1.0, 1.0, 2), Construct("refund", "refund", 0.5, 1.0, 2)]
    extended = extend_tokenizer(
        tokenizer, choose_new_tokens(tokenizer, words, new_tokens), folder / "tokenizer"
    )
    classifier = Classifier.new(base, folder / "tokenizer", "auto", LABELS, seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in list(encoder_linears(classifier.encoder).values())[-2:]:
            module.weight[1:4] += 0.01 * torch.randn_like(module.weight[1:4])
            if module.bias is not None:
                module.bias[1:4] -= 0.5
    facts = {"max_length": 16, "base": str(base), "base_hash": weights_hash(base)}
    classifier.save(folder / "model", extended, facts)
    (folder / "model" / "history.jsonl").write_text("{}\n", encoding="utf-8")
    return folder / "model"


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder."""
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


def through_file(patch: Patch, folder: Path) -> Patch:
    write_patch(patch, folder / "patch.safetensors")
    return read_patch(folder / "patch.safetensors")


@pytest.mark.parametrize(
    ("family", "new_tokens", "prompt"),
    [
        ("bert", 0, "none"),
        ("bert", 2, "query: "),
        ("roberta", 0, "query: "),
        ("distilbert", 0, "none"),
        ("qwen2", 0, "none"),
    ],
)
def test_a_patch_makes_the_model_from_its_base_and_the_base_from_the_model(
    tiny_family: Callable[[str], Path], tmp_path: Path, family: str, new_tokens: int, prompt: str
) -> None:
    base = tiny_family(family)
    model = tuned(base, tmp_path, new_tokens, prompt=prompt)
    patch = through_file(patch_folders.extract(base, model), tmp_path)

    patch_folders.apply(patch, base, tmp_path / "applied")
    expected = hashes(model)
    del expected["history.jsonl"]
    assert hashes(tmp_path / "applied") == expected
    inputs = load_tokenizer(tmp_path / "applied")(["why was the topup refused"], return_tensors="pt")
    logits = [
        Classifier.load(folder)(inputs["input_ids"], inputs["attention_mask"])
        for folder in (model, tmp_path / "applied")
    ]
    assert torch.equal(*logits)

    patch_folders.remove(patch, tmp_path / "applied", tmp_path / "removed")
    found, original = load_encoder(tmp_path / "removed").state_dict(), load_encoder(base).state_dict()
    assert found.keys() == original.keys()
    assert all(torch.equal(found[name], original[name]) for name in original)
    assert load_tokenizer(tmp_path / "removed").get_vocab() == load_tokenizer(base).get_vocab()
    assert not {"head.safetensors", "classifier.json"} & hashes(tmp_path / "removed").keys()

    # One base, many tasks: what one patch was removed from takes another.
    other = tuned(base, tmp_path / "other", seed=1)
    patch_folders.apply(patch_folders.extract(base, other), tmp_path / "removed", tmp_path / "changed")
    assert hashes(tmp_path / "changed").items() <= hashes(other).items()


@pytest.mark.parametrize("shape", ["rows", "columns", "entries", "layers"])
def test_what_a_mask_of_any_shape_has_trained_comes_and_goes_bit_for_bit(
    tiny_model: Path, tmp_path: Path, shape: str
) -> None:
    tokenizer = extend_tokenizer(load_tokenizer(tiny_model), {}, tmp_path / "tokenizer")
    classifier = Classifier.new(tiny_model, tmp_path / "tokenizer", "auto", LABELS, 0)
    classifier.encoder.requires_grad_(False)
    inputs = Inputs(tokenize(tokenizer, ["where is my order?", "refund"], 16))
    targets = torch.tensor([0, 1])
    settings = Mask(unit=shape, score="random", budget=0.25 if shape == "layers" else 0.1)
    schedule = Schedule(frozen_layers=0.5, all_layer_epochs=0.0)
    mask = select_mask(
        classifier, cache_states(inputs, classifier, 2), targets, None, settings, schedule, 0
    ).mask
    with sparse_layers(classifier.encoder, mask) as sparse:
        optimizer = torch.optim.SGD(
            [parameter for parameter in classifier.parameters() if parameter.requires_grad], lr=0.1
        )
        F.cross_entropy(inputs.batch([0, 1]).logits(classifier), targets).backward()
        optimizer.step()
        for module in sparse.values():
            module.write()
    classifier.save(
        tmp_path / "model",
        tokenizer,
        {"max_length": 16, "base": str(tiny_model), "base_hash": weights_hash(tiny_model)},
    )

    patch = through_file(patch_folders.extract(tiny_model, tmp_path / "model"), tmp_path)
    trained = {name: patch.changes[f"encoder.{name}.weight"] for name in mask.indices}
    assert {change.kind for change in trained.values()} == ({"whole"} if shape == "layers" else {shape})
    if shape != "layers":
        assert {name: change.indices.tolist() for name, change in trained.items()} == {
            name: chosen.tolist() for name, chosen in mask.indices.items()
        }
    patch_folders.apply(patch, tiny_model, tmp_path / "applied")
    assert hashes(tmp_path / "applied") == hashes(tmp_path / "model")
    patch_folders.remove(patch, tmp_path / "applied", tmp_path / "removed")
    found, original = load_encoder(tmp_path / "removed").state_dict(), load_encoder(tiny_model).state_dict()
    assert found.keys() == original.keys()
    assert all(torch.equal(found[name], original[name]) for name in original)


def test_a_base_without_other_parts_comes_back_as_the_file_it_was(
    tiny_family: Callable[[str], Path], tmp_path: Path
) -> None:
    base = tiny_family("distilbert")
    model = tuned(base, tmp_path)
    patch_folders.remove(patch_folders.extract(base, model), model, tmp_path / "removed")
    assert weights_hash(tmp_path / "removed") == weights_hash(base)
    assert hashes(tmp_path / "removed")["config.json"] == hashes(base)["config.json"]


def test_a_patch_contains_changed_rows_new_rows_and_the_head(tiny_model: Path, tmp_path: Path) -> None:
    patch = patch_folders.extract(tiny_model, tuned(tiny_model, tmp_path, new_tokens=1))
    tokens = len(load_tokenizer(tiny_model).get_vocab())
    assert {
        name.removeprefix("encoder."): (change.kind, change.indices.tolist())
        for name, change in patch.changes.items()
    } == {
        "embeddings.word_embeddings.weight": ("rows", [tokens]),
        "encoder.layer.3.intermediate.dense.bias": ("rows", [1, 2, 3]),
        "encoder.layer.3.intermediate.dense.weight": ("rows", [1, 2, 3]),
        "encoder.layer.3.output.dense.bias": ("rows", [1, 2, 3]),
        "encoder.layer.3.output.dense.weight": ("rows", [1, 2, 3]),
        "head.bias": ("whole", []),
        "head.weight": ("whole", []),
    }
    assert sorted(patch.files) == ["config.json", "tokenizer.json"]
    assert patch.classifier == {
        "labels": LABELS,
        "pooling": "mean",
        "max_length": 16,
        "base": str(tiny_model),
        "base_hash": weights_hash(tiny_model),
    }


def test_an_untrained_model_is_its_base_and_a_head(
    tiny_model: Path, tmp_path: Path, tiny_classifier: Callable[..., Classifier]
) -> None:
    facts = {"max_length": 16, "base": str(tiny_model), "base_hash": weights_hash(tiny_model)}
    tiny_classifier().save(tmp_path / "model", load_tokenizer(tiny_model), facts)
    patch = patch_folders.extract(tiny_model, tmp_path / "model")
    assert (sorted(patch.changes), patch.files) == (["head.bias", "head.weight"], {})
    patch_folders.apply(patch, tiny_model, tmp_path / "applied")
    applied = Classifier.load(tmp_path / "applied").encoder.state_dict()
    assert all(
        torch.equal(applied[name], tensor) for name, tensor in load_encoder(tiny_model).state_dict().items()
    )


def test_removing_a_patch_restores_the_declared_pooling(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    declared = base / "1_Pooling" / "config.json"
    declared.parent.mkdir()
    declared.write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    model = tuned(base, tmp_path)
    patch = through_file(patch_folders.extract(base, model), tmp_path)
    patch_folders.apply(patch, base, tmp_path / "applied")
    assert hashes(tmp_path / "applied").items() <= hashes(model).items()
    patch_folders.remove(patch, model, tmp_path / "removed")
    assert (tmp_path / "removed" / "1_Pooling" / "config.json").read_bytes() == declared.read_bytes()


def test_a_base_in_half_precision_counts_as_it_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_model, dtype=torch.float16).save_pretrained(tmp_path / "base")
    load_tokenizer(tiny_model).save_pretrained(tmp_path / "base")
    model = tuned(tmp_path / "base", tmp_path)
    patch_folders.apply(
        patch_folders.extract(tmp_path / "base", model), tmp_path / "base", tmp_path / "applied"
    )
    assert hashes(tmp_path / "applied").items() <= hashes(model).items()


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return tuned(tiny_model, tmp_path)


@pytest.fixture
def nudged(tiny_model: Path, tmp_path: Path) -> Path:
    """The base with one weight changed by its last bit."""
    encoder = AutoModel.from_pretrained(tiny_model)
    with torch.no_grad():
        weight = encoder.get_input_embeddings().weight
        weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))
    encoder.save_pretrained(tmp_path / "nudged")
    load_tokenizer(tiny_model).save_pretrained(tmp_path / "nudged")
    return tmp_path / "nudged"


@pytest.mark.parametrize("wrong", ["nudged", "another family", "the model itself"])
def test_another_base_is_refused_by_name_and_hash_and_nothing_is_written(
    tiny_model: Path,
    tiny_family: Callable[[str], Path],
    model: Path,
    nudged: Path,
    tmp_path: Path,
    wrong: str,
) -> None:
    patch = patch_folders.extract(tiny_model, model)
    base = {"nudged": nudged, "another family": tiny_family("distilbert"), "the model itself": model}[wrong]
    with pytest.raises(InputError, match="this patch needs base") as refused:
        patch_folders.apply(patch, base, tmp_path / "out" / "applied")
    assert str(tiny_model)[:40] in str(refused.value)
    assert patch.base_state[:12] in str(refused.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_of_another_base_is_not_extracted_from(model: Path, nudged: Path) -> None:
    with pytest.raises(InputError) as refused:
        patch_folders.extract(nudged, model)
    assert [
        part
        for part in (str(nudged), weights_hash(nudged)[:12], "was fine-tuned from")
        if part not in str(refused.value)
    ] == []


def test_a_model_that_the_patch_was_not_made_for_is_not_restored(
    tiny_model: Path, model: Path, tmp_path: Path
) -> None:
    patch = patch_folders.extract(tiny_model, tuned(tiny_model, tmp_path / "other", seed=1))
    with pytest.raises(InputError, match="this patch turns base"):
        patch_folders.remove(patch, model, tmp_path / "removed")
    with pytest.raises(InputError, match="this patch turns base"):
        patch_folders.remove(patch, tiny_model, tmp_path / "removed")
    assert not (tmp_path / "removed").exists()


def test_an_output_that_is_there_is_left_alone(tiny_model: Path, model: Path, tmp_path: Path) -> None:
    patch = patch_folders.extract(tiny_model, model)
    before = hashes(model)
    for write in (
        lambda: patch_folders.apply(patch, tiny_model, model),
        lambda: patch_folders.remove(patch, model, model),
    ):
        with pytest.raises(InputError, match="already exists; pass a new folder"):
            write()
    assert hashes(model) == before


@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "model.py", "model.safetensors"])
def test_a_patch_cannot_write_other_files(tiny_model: Path, model: Path, tmp_path: Path, name: str) -> None:
    patch = replace(patch_folders.extract(tiny_model, model), files={name: (b"", b"evil")})
    with pytest.raises(InputError, match="which is not part of a model"):
        patch_folders.apply(patch, tiny_model, tmp_path / "out" / "applied")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("classifier.json", None, "is not a fine-tuned model: labels is missing"),
        (
            "classifier.json",
            json.dumps({"labels": [], "pooling": "mean", "max_length": 3, "base": "x"}),
            "base_hash is missing",
        ),
        ("head.safetensors", None, "head.safetensors is missing"),
        ("model.safetensors", None, "does not contain a complete model.safetensors"),
        ("model.safetensors", "text", "does not contain a complete model.safetensors"),
    ],
)
def test_a_folder_that_is_no_fine_tuned_model_is_refused(
    tiny_model: Path, model: Path, file: str, content: str | None, message: str
) -> None:
    (model / file).unlink()
    if content is not None:
        (model / file).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        patch_folders.extract(tiny_model, model)


def test_the_names_of_a_state_are_those_of_the_classifier(model: Path) -> None:
    assert patch_folders.read_state(model).keys() == Classifier.load(model).state_dict().keys()
