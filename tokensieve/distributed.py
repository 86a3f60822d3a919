"""Training in several processes: ranks, shards, collectives, and the launcher.

`launch` starts the processes on one machine, torchrun on several machines. Each process runs inside
`worker` and computes its share of every batch. All processes must call the collectives
(`sum_over_processes`, `broadcast_from_first`, `all_agree`) in the same order. If torch.distributed
is not in use, there is one process.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tokensieve import packages
from tokensieve.errors import InputError

INPUT_ERROR_STATUS = 2
# The variable that names the file in which torchrun expects the error of a process.
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"

T = TypeVar("T")


def world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _together() else 1


def rank() -> int:
    """Return the rank of this process among all processes, from 0."""
    return distributed.get_rank() if _together() else 0


def local_world_size() -> int:
    """Return the number of these processes on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _together() else 1


def local_rank() -> int:
    """Return the rank of this process among those on this machine, from 0."""
    return int(os.environ["LOCAL_RANK"]) if _together() else 0


def node_rank() -> int:
    """Return the rank of this machine among all machines, from 0."""
    return int(os.environ.get("GROUP_RANK", "0")) if _together() else 0


def local_shard(items: Iterable[T]) -> Iterator[T]:
    """Return this process's share of `items` among the processes on this machine."""
    return islice(items, local_rank(), None, local_world_size())


def shard(items: Iterable[T]) -> Iterator[T]:
    """Return this process's share of `items` among all processes."""
    return islice(items, rank(), None, world_size())


def sum_over_processes(values: Tensor) -> Tensor:
    """Replace `values` by their sum over all processes, and return them.

    The sums are the same to the bit in each process.
    """
    if world_size() > 1:
        distributed.all_reduce(values)
    return values


def broadcast_from_first(values: Sequence[float]) -> list[float]:
    """Return the `values` of the first process."""
    first = torch.tensor(values, dtype=torch.float64)
    if world_size() > 1:
        distributed.broadcast(first, 0)
    return first.tolist()


def all_agree(holds: bool = True) -> bool:
    """Return whether `holds` is true in every process. Acts as a barrier."""
    return int(sum_over_processes(torch.tensor(int(holds)))) == world_size()


def data_parallel(
    compute: Callable[[Any], Tensor], parameters: Sequence[nn.Parameter]
) -> Callable[[Any], Tensor]:
    """Return `compute` with gradients of `parameters` that are averaged over all processes.

    `compute` must use all of these parameters.
    """
    return DistributedDataParallel(_Computation(compute, parameters)) if world_size() > 1 else compute


class _Computation(nn.Module):
    """A computation and its trained parameters. Other parameters need no synchronization."""

    def __init__(self, compute: Callable[[Any], Tensor], parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.compute = compute
        self.trained = nn.ParameterList(parameters)

    def forward(self, batch: Any) -> Tensor:
        return self.compute(batch)


@contextmanager
def worker() -> Iterator[None]:
    """Run the block as a process that `launch` or torchrun has started, on its own GPU.

    An error is reported to the launcher and ends the process, with exit status 2 for an InputError.
    """
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # gloo writes to standard output
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        yield
        distributed.destroy_process_group()
    except Exception as error:
        if ERROR_FILE not in os.environ:
            raise
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
        # The other processes fail when this one ends. The delay lets the launcher see which failed
        # first.
        time.sleep(1)
        os._exit(INPUT_ERROR_STATUS if isinstance(error, InputError) else 1)


def launch(processes: int, module: str, *arguments: str, gpu: bool = True) -> None:
    """Run `python -m module arguments` in `processes` processes on this machine, and wait for them.

    It does what `torchrun --standalone` does. With `gpu`, if the machine has GPUs, each process
    needs its own GPU.

    Raises:
        InputError: If there are more processes than GPUs, or if a process has raised InputError.
        RuntimeError: If a process has failed or was killed.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if gpu and torch.cuda.is_available() and processes > torch.cuda.device_count():
        gpus = torch.cuda.device_count()
        raise InputError(
            f"finetune.processes is {processes}; allowed: 1 to {gpus}, the number of this machine's GPUs"
        )
    for name in ["torchelastic-events-null", *logging.root.manager.loggerDict]:
        if name.startswith(("torch.distributed.elastic", "torchelastic")):
            logging.getLogger(name).disabled = True  # the error raised below has the same content
    before = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            1,
            1,
            processes,
            DefaultLogsSpecs(logs),
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            signals_to_handle="SIGTERM",  # Python handles SIGINT, which ends the processes too
        )
        try:
            elastic_launch(config, sys.executable)(*packages.command(module, *arguments)[1:])
        except ChildFailedError as error:
            raise _cause(error.failures, processes) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)


def _cause(failures: dict[int, Any], processes: int) -> Exception:
    """Return the error to raise for the failed processes, by rank.

    An InputError comes first. Processes that the launcher itself has ended, by SIGTERM, come last.
    """

    def order(rank: int) -> tuple[bool, bool, bool, int]:
        code = failures[rank].exitcode
        return code != INPUT_ERROR_STATUS, code == -signal.SIGTERM, code > 0, failures[rank].timestamp

    rank = min(failures, key=order)
    failure = failures[rank]
    report = failure.message if isinstance(failure.message, dict) else {}
    message = report.get("message", "")
    if failure.exitcode == INPUT_ERROR_STATUS and message:
        return InputError(message.removeprefix(f"{InputError.__name__}: "))
    how = f"failed: {message or f'exit status {failure.exitcode}'}"
    if failure.exitcode < 0:
        hint = ", perhaps because memory ran out" if -failure.exitcode == signal.SIGKILL else ""
        how = f"was killed by {failure.signal_name()}{hint}"
    error = RuntimeError(
        f"training process {rank} of {processes} (the first is 0) {how}. The same command continues from "
        "the last epoch"
    )
    error.add_note(report.get("extraInfo", {}).get("py_callstack", ""))
    return error


def _end_with(parent: int) -> None:
    """End this process when its parent process `parent` has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
