"""What no classifier can be made of is refused by one line, before anything is trained."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from tokensieve.errors import InputError
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import choose_pooling, load_encoder
from tokensieve.model.encoder_check import check_base
from tokensieve.settings import Settings


@pytest.fixture
def copied(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def settings_of(folder: Path, **sections: dict[str, object]) -> Settings:
    base = {"model": str(folder), "max_length": 32} | sections.pop("base", {})
    return Settings.of({"base": base, **sections})


def refusal(folder: Path, **sections: dict[str, object]) -> str:
    with pytest.raises(InputError) as raised:
        check_base(folder, settings_of(folder, **sections))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def edit(path: Path, **values: object) -> None:
    path.parent.mkdir(exist_ok=True)
    tree = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(tree | values), encoding="utf-8")


def test_every_family_can_read_as_many_tokens_as_it_has_positions(
    tiny_family: Callable[[str], Path], family: str
) -> None:
    folder = tiny_family(family)
    assert check_base(folder, settings_of(folder, base={"max_length": 64})).positions == 64
    message = refusal(folder, base={"max_length": 65})
    assert message.startswith("base.max_length is 65; allowed for base.model '")
    assert message.endswith("': 4 to 64, its number of positions")
    # The limit is the true one: with as many tokens the model answers.
    classifier = Classifier(load_encoder(folder), "mean", ["a", "b"])
    ids = torch.full((1, 64), 5)
    with torch.inference_mode():
        assert classifier(ids, torch.ones_like(ids)).isfinite().all()


def test_weights_that_are_pickled_or_missing(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert (
        "has no .safetensors file, and a pytorch_model.bin, which can hold code, is not read; "
        "convert it once: python -c" in refusal(copied)
    )


def test_the_remedy_for_pickled_weights_works(tiny_family: Callable[[str], Path], tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    source, target = shutil.copytree(tiny_family("bert"), tmp_path / "old"), tmp_path / "new"
    model = AutoModel.from_pretrained(source)
    torch.save(model.state_dict(), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    for kind in (AutoModel, AutoTokenizer):
        kind.from_pretrained(source).save_pretrained(target)
    assert check_base(target, settings_of(target)).positions == 64


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"model_type": "homemade", "auto_map": {"AutoModel": "modeling.Model"}},
            "needs code of its own (trust_remote_code), which is never",
        ),
        ({"model_type": "homemade"}, "is of type 'homemade', which transformers"),
    ],
)
def test_foreign_code_and_unknown_families(copied: Path, values: dict[str, object], words: str) -> None:
    (copied / "modeling.py").write_text("raise SystemExit('run')\n", encoding="utf-8")
    edit(copied / "config.json", **values)
    assert words in refusal(copied)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("t5", "is an encoder with a decoder, which is not supported; choose an encoder such as BERT"),
        ("clip", "is no text encoder"),
        ("albert", "its 4 layers are not in a module list"),
    ],
)
def test_families_that_are_no_encoders_with_layers(copied: Path, kind: str, words: str) -> None:
    sizes = (
        {}
        if kind == "clip"
        else {"num_hidden_layers": 4, "hidden_size": 32, "num_attention_heads": 2, "num_layers": 4}
    )
    AutoConfig.for_model(kind, **sizes).save_pretrained(copied)
    assert words in refusal(copied)


def without_tokenizer(folder: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    return folder


def test_a_folder_without_a_tokenizer(copied: Path) -> None:
    # transformers makes an empty one.
    assert "has no tokenizer; serving needs a tokenizer.json" in refusal(without_tokenizer(copied))


def test_a_sentencepiece_model_without_the_package(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "sentencepiece" else find(name, *rest),
    )
    (without_tokenizer(copied) / "sentencepiece.bpe.model").write_bytes(b"pieces")
    assert "needs the package sentencepiece (pip install sentencepiece); serving needs" in refusal(copied)


def test_a_damaged_tokenizer(copied: Path) -> None:
    (copied / "tokenizer.json").write_text("{", encoding="utf-8")
    assert "cannot be loaded (" in refusal(copied)


def test_a_tokenizer_of_another_model(copied: Path) -> None:
    edit(copied / "config.json", vocab_size=40)
    assert "tokens in its tokenizer and 40 in its weights; they belong to different models" in refusal(copied)


def test_a_slow_tokenizer(copied: Path) -> None:
    from transformers import CanineTokenizer

    CanineTokenizer().save_pretrained(without_tokenizer(copied))
    assert "is a slow one; serving needs a tokenizer.json" in refusal(copied)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode": "cls", "embedding_dimension": 32}, "cls"),
        ({"pooling_mode": ["lasttoken"]}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
    ],
)
def test_both_forms_of_a_declared_pooling_are_read(
    copied: Path, config: dict[str, object], pooling: str
) -> None:
    edit(copied / "1_Pooling" / "config.json", **config)
    check_base(copied, settings_of(copied))
    assert choose_pooling(copied) == pooling


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode": "max"}, "the model's pooling is 'max'"),
        ({"pooling_mode": "weightedmean"}, "the model's pooling is 'weightedmean'"),
        ({"pooling_mode": ["cls", "mean"]}, "the model's pooling is 'cls' and 'mean'"),
        ({"pooling_mode_max_tokens": True}, "the model's pooling is 'max'"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "the model's pooling is 'mean_sqrt_len_tokens'"),
        ({"pooling_mode_weightedmean_tokens": True}, "the model's pooling is 'weightedmean'"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True},
            "the model's pooling is 'cls' and 'max'",
        ),
    ],
)
def test_other_poolings_are_refused_by_name_unless_one_is_set(
    copied: Path, config: dict[str, object], named: str
) -> None:
    edit(copied / "1_Pooling" / "config.json", **config)
    message = refusal(copied)
    assert named in message
    assert "set base.pooling to mean, cls or last" in message
    check_base(copied, settings_of(copied, base={"pooling": "mean"}))


def test_what_sentence_transformers_writes_is_read(copied: Path) -> None:
    modules = pytest.importorskip(
        "sentence_transformers.sentence_transformer.modules.pooling", reason="sentence-transformers"
    )
    (copied / "1_Pooling").mkdir()
    modules.Pooling(32, pooling_mode="cls").save(str(copied / "1_Pooling"))
    assert choose_pooling(copied) == "cls"


def test_a_model_too_large_for_an_onnx_file(copied: Path) -> None:
    edit(copied / "config.json", vocab_size=20_000_000)
    message = refusal(copied)
    assert (
        "its ONNX graph would take 2.6 GB, and an ONNX file holds at most 2.1 GB: "
        "choose a model of at most 520 million" in message
    )


def test_a_damaged_configuration(copied: Path) -> None:
    (copied / "config.json").write_text("{", encoding="utf-8")
    assert "config.json cannot be read" in refusal(copied)
