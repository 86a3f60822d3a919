"""Two processes on one machine: what they train is what one trains, and what goes wrong in one is
told clearly.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tokensieve import distributed
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError

PROGRAM = Path(__file__).parent / "distributed_worker.py"
Run = tuple[list[dict[str, Any]], dict[str, Tensor]]

MEMBER = """
import os, signal, sys, time
from tokensieve import distributed
from tokensieve.errors import InputError

with distributed.worker():
    if sys.argv[1] == "both":
        raise InputError("the file is empty; give another")
    if sys.argv[1] == "stay":
        open(sys.argv[2] + str(distributed.rank()), "w").write(str(os.getpid()))
        time.sleep(600)
    if distributed.rank() == 1:
        if sys.argv[1] == "mistake":
            raise InputError("the disk is full; make room")
        if sys.argv[1] == "fault":
            raise KeyError("fault")
        if sys.argv[1] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    distributed.all_agree()
"""


@pytest.fixture(scope="module")
def alone(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """What one process, this one, trains."""
    torch.set_num_threads(1)
    made = runpy.run_path(str(PROGRAM))["Trainings"](tiny_model, data, tmp_path_factory.mktemp("alone")).all()
    return {name: (history, classifier.state_dict()) for name, (classifier, history) in made.items()}


@pytest.fixture(scope="module")
def data(tiny_texts: tuple[list[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny texts, the classes mixed and of unequal size."""
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    texts, labels = tiny_texts
    order = sorted(range(len(texts)), key=lambda i: (i * 7) % 60)
    chosen = [i for i in order if labels[i] != labels[0] or i % 2]
    padded = chosen + order[: 63 - len(chosen)]
    Examples.of([texts[i] for i in padded], [labels[i] for i in padded]).save(path)
    return path


@pytest.fixture(scope="module")
def together(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Run]]:
    """What each of two processes has in the end, started by torchrun as a user would."""
    output = tmp_path_factory.mktemp("together")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        PROGRAM,
        tiny_model,
        data,
        output,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = []
    for rank in range(2):
        with safe_open(output / f"{rank}.safetensors", "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            names = file.metadata()
        runs.append(
            {name: (json.loads(history), _of(tensors, f"{name}.")) for name, history in names.items()}
        )
    return runs


def _of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


@pytest.mark.parametrize(
    "name", ["rows", "balanced", "several", "frozen", "memory", "opened", "dense", "stopped"]
)
def test_two_processes_give_the_weights_of_one(
    alone: dict[str, Run], together: list[dict[str, Run]], name: str
) -> None:
    (expected, weights), (found, trained) = alone[name], together[0][name]
    assert len(found) == len(expected)
    for record, wanted in zip(found, expected, strict=True):
        assert record == pytest.approx(wanted, rel=1e-4)
    # The bias of the keys has no gradient but rounding, which Adam makes steps of.
    for key, tensor in weights.items():
        if key.endswith("key.bias"):
            continue
        torch.testing.assert_close(trained[key], tensor, rtol=1e-2, atol=1e-3)  # Adam magnifies rounding


def test_the_stopped_training_stops_early(together: list[dict[str, Run]]) -> None:
    assert 2 <= len(together[0]["stopped"][0]) < 30


def test_all_processes_end_with_the_same_bits(together: list[dict[str, Run]]) -> None:
    first, second = together
    for name in first:
        assert first[name][0] == second[name][0]
        assert all(torch.equal(tensor, second[name][1][key]) for key, tensor in first[name][1].items()), name


def test_an_interrupted_training_goes_on_in_all_processes(together: list[dict[str, Run]]) -> None:
    whole, resumed = together[0]["frozen"], together[0]["resumed"]
    assert whole[0] == resumed[0]
    assert all(torch.equal(tensor, resumed[1][key]) for key, tensor in whole[1].items())


def test_each_process_draws_a_dropout_of_its_own(
    alone: dict[str, Run], together: list[dict[str, Run]]
) -> None:
    ours, others = (run["dropout"][0][0]["train_loss"] for run in (alone, together[0]))
    assert ours != pytest.approx(others, rel=1e-5)
    assert ours == pytest.approx(others, rel=0.2)


@pytest.fixture
def members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that two processes can run, each according to its argument."""
    (tmp_path / "member_of_two.py").write_text(MEMBER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("mistake", InputError, "^the disk is full; make room$"),
        ("both", InputError, "^the file is empty; give another$"),
        (
            "fault",
            RuntimeError,
            r"training process 1 of 2 .* failed: KeyError: 'fault'\. The same command continues",
        ),
        (
            "killed",
            RuntimeError,
            r"training process 1 of 2 .* was killed by SIGKILL, perhaps because memory ran out\. "
            r"The same command",
        ),
    ],
)
def test_the_error_of_a_process_is_raised(
    members: None, how: str, kind: type[Exception], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(kind, match=words) as caught:
        distributed.launch(2, "member_of_two", how)
    assert ("KeyError" in "".join(getattr(caught.value, "__notes__", []))) == (how == "fault")
    assert "Traceback" not in "".join(capfd.readouterr())
    assert signal.getsignal(signal.SIGTERM) == handler


def test_processes_end_without_an_error(members: None, capfd: pytest.CaptureFixture[str]) -> None:
    distributed.launch(2, "member_of_two", "fine")
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_launched_them(
    members: None, tmp_path: Path, death: signal.Signals
) -> None:
    # As from a terminal, also where the tests were started in the background, with interrupts
    # ignored.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += (
        "from tokensieve import distributed; distributed.launch(2, 'member_of_two', 'stay', "
        f"{str(tmp_path / 'pid')!r})"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    started = [tmp_path / f"pid{rank}" for rank in range(2)]
    _wait_until(lambda: all(path.exists() and path.read_text() for path in started))
    launcher.send_signal(death)
    launcher.wait(60)
    _wait_until(lambda: not any(Path("/proc", path.read_text()).exists() for path in started))


def _wait_until(holds: Any) -> None:
    end = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        InputError, match=r"finetune\.processes is 4; allowed: 1 to 2, the number of this machine's GPUs"
    ):
        distributed.launch(4, "never")


def test_a_process_alone_is_all_there_are() -> None:
    assert (
        distributed.world_size(),
        distributed.rank(),
        distributed.local_world_size(),
        distributed.local_rank(),
        distributed.node_rank(),
    ) == (
        1,
        0,
        1,
        0,
        0,
    )
    assert list(distributed.shard([3, 4])) == list(distributed.local_shard([3, 4])) == [3, 4]
    values = torch.tensor([1.0, 2.0])
    assert distributed.sum_over_processes(values) is values
    assert distributed.broadcast_from_first([0.1, 3.0]) == [0.1, 3.0]
    assert distributed.all_agree(True)
    assert not distributed.all_agree(False)
    assert distributed.data_parallel(abs, []) is abs
