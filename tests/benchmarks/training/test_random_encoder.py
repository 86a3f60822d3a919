from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.training import random_encoder
from benchmarks.training.random_encoder import main, make
from tokensieve.model.encoder import load_encoder, load_tokenizer


def test_an_encoder_of_random_weights_reads_the_base_models_tokens(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    usual = random_encoder.BertConfig
    monkeypatch.setattr(random_encoder, "BertConfig", lambda **given: usual(**given, **small))
    make(tmp_path / "random-tiny", str(tiny_model))
    encoder, tokenizer = load_encoder(tmp_path / "random-tiny"), load_tokenizer(tmp_path / "random-tiny")
    assert encoder.config.num_hidden_layers == 3
    text = "where is my refund"
    assert tokenizer(text)["input_ids"] == load_tokenizer(tiny_model)(text)["input_ids"]
    assert max(tokenizer(text)["input_ids"]) < encoder.config.vocab_size


def test_a_base_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "random-tiny"), str(tmp_path / "empty")]) == 2
    assert "does not contain config.json" in capsys.readouterr().err
