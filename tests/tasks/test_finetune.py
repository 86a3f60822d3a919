"""The finetune stage on a tiny project: the same model from one process and from two, and mistakes
told as they are.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tasks import finetune as finetuning
from tasks.artifacts import MaskFacts
from tasks.finetune import finetune
from tasks.mask import mask
from tasks.vocabulary import vocabulary
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.files import read_json, write_json
from tokensieve.project import Layout
from tokensieve.settings import Settings, changed, render


@pytest.fixture
def layout(tiny_model: Path, tiny_texts: tuple[list[str], list[str]], tmp_path: Path) -> Layout:
    """A project that is ready to be fine-tuned, without dropout, whose random numbers differ
    between processes.
    """
    layout = Layout(tmp_path / "project")
    layout.split.mkdir(parents=True)
    shutil.copytree(tiny_model, layout.root / "base")
    config = read_json(layout.root / "base" / "config.json")
    write_json(
        layout.root / "base" / "config.json",
        config | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    )
    examples = Examples.of(*tiny_texts)
    examples.take([i for i in range(60) if i % 3]).save(layout.split / "train.jsonl")
    examples.take(range(0, 60, 3)).save(layout.split / "validation.jsonl")
    write_json(layout.split / "labels.json", sorted(set(tiny_texts[1])))
    small = {
        "mask": {"budget": 0.25},
        "finetune": {"threads": 1, "max_epochs": 3, "batch_size": 7},
        "base": {"model": "base", "max_length": 32},
    }
    layout.params.write_text(render(Settings.of(small)))
    settings = Settings.load(layout.params)
    vocabulary(layout, settings)
    mask(layout, settings)
    return layout


def test_two_processes_make_the_model_that_one_makes(
    layout: Layout, capfd: pytest.CaptureFixture[str]
) -> None:
    finetune(layout, Settings.load(layout.params))
    weights = load_file(layout.model / "model.safetensors")
    history = [json.loads(line) for line in (layout.model / "history.jsonl").read_text().splitlines()]
    changed(layout.params, ["finetune.processes=2"])
    finetune(layout, Settings.load(layout.params))
    again = [json.loads(line) for line in (layout.model / "history.jsonl").read_text().splitlines()]
    assert len(again) == len(history) == 3
    for record, expected in zip(again, history, strict=True):
        assert record == pytest.approx(expected, rel=1e-3)
    for name, tensor in load_file(layout.model / "model.safetensors").items():
        if not name.endswith("key.bias"):  # which has no gradient but rounding
            torch.testing.assert_close(tensor, weights[name], rtol=1e-2, atol=1e-3)
    assert capfd.readouterr().err.count("epoch 3 of 3") == 1
    assert not [
        path.name for path in layout.prefix.iterdir() if "-train" in path.name
    ]  # states of this training alone
    assert list(layout.checkpoint.iterdir()) == []


@pytest.mark.parametrize(
    ("is_far", "separator", "expected"),
    [(False, "null", range(1, 2)), (True, "null", range(3)), (False, "'|'", range(3))],
)
def test_all_layers_train_in_all_epochs_for_a_far_task_and_for_multi_label_data(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, is_far: bool, separator: str, expected: range
) -> None:
    changed(layout.params, [f"data.label_separator={separator}"])
    report = read_json(layout.mask / "report.json")
    assert list(report["probe_errors"]) == ["1", "3", "4"]
    MaskFacts(is_far, 1, 2).save(layout.mask)
    opened: list[range] = []
    training = finetuning.train_masked
    monkeypatch.setattr(
        finetuning,
        "train_masked",
        lambda *arguments: opened.append(arguments[6].all_layers) or training(*arguments),
    )
    finetune(layout, Settings.load(layout.params))
    assert opened == [expected]


def test_a_mistake_that_a_process_finds_is_raised_as_it_is(layout: Layout) -> None:
    changed(layout.params, ["finetune.processes=2"])
    (layout.split / "validation.jsonl").write_text("no JSON\n")
    with pytest.raises(InputError, match=r"validation.jsonl, row 1 \(line 1\): not JSON") as caught:
        finetune(layout, Settings.load(layout.params))
    assert "\n" not in str(caught.value)
