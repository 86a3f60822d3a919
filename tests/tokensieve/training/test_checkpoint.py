from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tokensieve.training.checkpoint import FILE, Checkpoint

FACTS = {"history": [{"epoch": 1, "train_loss": 0.1 + 0.2}]}


def stepped(steps: int) -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(
        [{"params": [layer.weight], "lr": 0.1}, {"params": [layer.bias], "lr": 0.2}], fused=True
    )
    for _ in range(steps):
        layer(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return layer, optimizer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a checkpoint of the training "key" after two steps."""
    layer, optimizer = stepped(2)
    Checkpoint(tmp_path / "new", "key").save(dict(layer.named_parameters()), optimizer, FACTS)
    return tmp_path / "new"


def test_tensors_metadata_and_optimizer_are_restored(saved: Path) -> None:
    layer, expected = stepped(2)
    _, optimizer = stepped(0)
    found = Checkpoint(saved, "key").load(optimizer)
    assert found is not None
    tensors, facts = found
    assert facts == FACTS
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        "weight": layer.weight.tolist(),
        "bias": layer.bias.tolist(),
    }
    assert optimizer.state_dict()["param_groups"] == expected.state_dict()["param_groups"]
    for place, entry in expected.state_dict()["state"].items():
        assert entry.keys() == {"step", "exp_avg", "exp_avg_sq"}
        for name, tensor in entry.items():
            assert torch.equal(optimizer.state_dict()["state"][place][name], tensor)


def test_one_file_is_replaced_as_a_whole(saved: Path) -> None:
    layer, optimizer = stepped(3)
    Checkpoint(saved, "key").save(dict(layer.named_parameters()), optimizer, {"n": 2})
    assert [path.name for path in saved.iterdir()] == [FILE]
    found = Checkpoint(saved, "key").load(stepped(0)[1])
    assert found is not None
    assert found[1] == {"n": 2}


def test_a_save_that_fails_keeps_the_earlier_one(saved: Path) -> None:
    layer, optimizer = stepped(3)
    with pytest.raises(TypeError):
        Checkpoint(saved, "key").save(dict(layer.named_parameters()), optimizer, {"n": object()})
    found = Checkpoint(saved, "key").load(stepped(0)[1])
    assert found is not None
    assert found[1] == FACTS


@pytest.mark.parametrize("content", ["nothing", "empty", "half", "text", "foreign"])
def test_what_is_not_a_whole_checkpoint_is_none(saved: Path, content: str) -> None:
    path = saved / FILE
    whole = path.read_bytes()
    path.unlink()
    if content == "foreign":
        save_file({"weight": torch.ones(1)}, path)
    elif content != "nothing":
        path.write_bytes(
            {"empty": b"", "half": whole[: len(whole) // 2], "text": b"not a checkpoint at all"}[content]
        )
    _, optimizer = stepped(0)
    assert Checkpoint(saved, "key").load(optimizer) is None
    assert optimizer.state_dict()["state"] == {}


def test_a_checkpoint_of_another_training_is_none(saved: Path) -> None:
    _, optimizer = stepped(0)
    assert Checkpoint(saved, "other").load(optimizer) is None
    assert optimizer.state_dict()["state"] == {}


def test_it_is_cleared(saved: Path) -> None:
    Checkpoint(saved, "key").clear()
    Checkpoint(saved, "key").clear()
    assert Checkpoint(saved, "key").load(stepped(0)[1]) is None
