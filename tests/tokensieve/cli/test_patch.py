"""The commands of the group `patch`: there, back, and what a person types wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tokensieve.cli.main import main

if TYPE_CHECKING:
    from tokensieve.model.classifier import Classifier


@pytest.fixture
def model(tiny_model: Path, tiny_classifier: Callable[..., Classifier], tmp_path: Path) -> Path:
    """A classifier with one row changed."""
    import torch

    from tokensieve.model.encoder import encoder_linears, load_tokenizer, weights_hash

    classifier = tiny_classifier()
    with torch.no_grad():
        encoder_linears(classifier.encoder)["encoder.layer.3.output.dense"].weight[7] += 0.125
    facts = {"max_length": 32, "base": str(tiny_model), "base_hash": weights_hash(tiny_model)}
    classifier.save(tmp_path / "model", load_tokenizer(tiny_model), facts)
    return tmp_path / "model"


def test_extract_show_apply_and_remove(
    model: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    patch, applied, removed = tmp_path / "patch.safetensors", tmp_path / "applied", tmp_path / "removed"
    assert main(["patch", "extract", "--model", str(model), "--output", str(patch)]) == 0
    assert main(["patch", "apply", "--patch", str(patch), "--output", str(applied)]) == 0
    assert (
        main(["patch", "remove", "--model", str(applied), "--patch", str(patch), "--output", str(removed)])
        == 0
    )
    assert (
        main(
            [
                "patch",
                "apply",
                "--patch",
                str(patch),
                "--base",
                str(removed),
                "--output",
                str(tmp_path / "again"),
            ]
        )
        == 0
    )
    for name in ("model.safetensors", "head.safetensors", "classifier.json"):
        assert (
            (tmp_path / "again" / name).read_bytes()
            == (applied / name).read_bytes()
            == (model / name).read_bytes()
        )
    capfd.readouterr()

    assert main(["patch", "show", "--patch", str(patch), "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    kept = json.loads((model / "classifier.json").read_text(encoding="utf-8"))
    assert {key: shown[key] for key in kept} == kept
    assert (shown["bytes"], shown["values"]) == (patch.stat().st_size, 64 + 5 * 32 + 5)
    assert shown["tensors"][0] == {
        "tensor": "encoder.encoder.layer.3.output.dense.weight",
        "kind": "rows",
        "selected": 1,
        "of": 32,
        "values": 64,
    }
    assert main(["patch", "show", "--patch", str(patch)]) == 0
    text = capfd.readouterr().out
    assert [
        part
        for part in (str(tiny_model), kept["base_hash"][:12], "card_lost", "1 of", "32")
        if part not in text
    ] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["apply", "--patch", "none", "--output", "out"], "none does not exist"),
        (["show", "--patch", "."], "is not a complete patch"),
        (["extract", "--model", ".", "--output", "out"], "is not a fine-tuned model"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["patch", *arguments]) == 2
    output, errors = capfd.readouterr()
    assert (output, len(errors.splitlines())) == ("", 1)
    assert named in errors
    assert list(tmp_path.iterdir()) == []


def test_for_a_project_as_model_the_error_names_its_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "artifacts" / "model"
    model.mkdir(parents=True)
    (model / "classifier.json").touch()
    assert main(["patch", "extract", "--model", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert f"{tmp_path} is not a fine-tuned model" in (error := capfd.readouterr().err)
    assert f"Use {model}" in error
