"""The processes that train together, one a GPU or several on a machine's cores: those of torch.distributed, or this one alone.

Every process runs the same program, each on its share of a batch, so what is said here of all processes must be called by all of
them, in the same order. They are started by `launch`, or on several machines by torchrun, and are `member`s.
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

MISTAKE = 2
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"  # where torchrun looks for the error of a process

T = TypeVar("T")


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _together() else 1


def rank() -> int:
    """The place of this process among all, from 0."""
    return distributed.get_rank() if _together() else 0


def local_world_size() -> int:
    """How many of them run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _together() else 1


def local_rank() -> int:
    """The place of this process among those on this machine, from 0."""
    return int(os.environ["LOCAL_RANK"]) if _together() else 0


def node_rank() -> int:
    """The place of this machine among all, from 0."""
    return int(os.environ.get("GROUP_RANK", "0")) if _together() else 0


def hide_progress() -> bool | None:
    """What tqdm takes as `disable`: the first process shows its progress, on a terminal."""
    return None if rank() == 0 else True


def local_shard(items: Iterable[T]) -> Iterator[T]:
    """This process's share of `items` among the processes on this machine."""
    return islice(items, local_rank(), None, local_world_size())


def shard(items: Iterable[T]) -> Iterator[T]:
    """This process's share of `items` among all processes."""
    return islice(items, rank(), None, world_size())


def sum_over_processes(values: Tensor) -> Tensor:
    """`values`, which becomes the sum over all processes, the same in each to the bit."""
    if world_size() > 1:
        distributed.all_reduce(values)
    return values


def broadcast_from_first(values: Sequence[float]) -> list[float]:
    """The `values` of the first process."""
    told = torch.tensor(values, dtype=torch.float64)
    if world_size() > 1:
        distributed.broadcast(told, 0)
    return told.tolist()


def all_agree(holds: bool = True) -> bool:
    """Whether it holds in all processes. None goes on before all have come here."""
    return int(sum_over_processes(torch.tensor(int(holds)))) == world_size()


def data_parallel(
    compute: Callable[[Any], Tensor], parameters: Sequence[nn.Parameter]
) -> Callable[[Any], Tensor]:
    """`compute`, whose backward pass leaves the mean of all processes' gradients in `parameters`; it must reach all of them."""
    return DistributedDataParallel(_Computation(compute, parameters)) if world_size() > 1 else compute


class _Computation(nn.Module):
    """A computation with the parameters that are trained in it, and none of the others: those need no sending around."""

    def __init__(self, compute: Callable[[Any], Tensor], parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.compute = compute
        self.trained = nn.ParameterList(parameters)

    def forward(self, batch: Any) -> Tensor:
        return self.compute(batch)


@contextmanager
def worker() -> Iterator[None]:
    """Within it, this process is one of those that `launch` or torchrun has started, on the GPU that is its own.

    An error ends the process, with exit status 2 for an InputError, and is told to whoever has started it.
    """
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # gloo greets on standard output
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
        # The others fail when this one is gone: after a moment, so that whoever watches sees which one was first.
        time.sleep(1)
        os._exit(MISTAKE if isinstance(error, InputError) else 1)


def launch(processes: int, module: str, *arguments: str, gpu: bool = True) -> None:
    """Run `python -m module arguments` in `processes` processes on this machine, as `torchrun --standalone` does, to the end.

    With `gpu`, and if there is one, each process needs a GPU of its own.

    Raises:
        InputError: more processes than GPUs; or one of the processes has raised it.
        RuntimeError: a process has failed or was killed; it says which, and how.
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
            logging.getLogger(name).disabled = True  # what they say of a failure is said below
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
            signals_to_handle="SIGTERM",  # an interrupt is Python's, and ends the processes as well
        )
        try:
            elastic_launch(config, sys.executable)(*packages.command(module, *arguments)[1:])
        except ChildFailedError as error:
            raise _cause(error.failures, processes) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)


def _cause(failures: dict[int, Any], processes: int) -> Exception:
    """The error to raise for the failed processes, by rank: that of a mistake if there is one, and of those that the launcher has
    ended itself, by SIGTERM, only if there is no other."""

    def order(place: int) -> tuple[bool, bool, bool, int]:
        code = failures[place].exitcode
        return code != MISTAKE, code == -signal.SIGTERM, code > 0, failures[place].timestamp

    place = min(failures, key=order)
    failure = failures[place]
    told = failure.message if isinstance(failure.message, dict) else {}
    message = told.get("message", "")
    if failure.exitcode == MISTAKE and message:
        return InputError(message.removeprefix(f"{InputError.__name__}: "))
    how = f"failed: {message or f'exit status {failure.exitcode}'}"
    if failure.exitcode < 0:
        hint = ", perhaps for want of memory" if -failure.exitcode == signal.SIGKILL else ""
        how = f"was killed by {failure.signal_name()}{hint}"
    error = RuntimeError(
        f"training process {place} of {processes} (the first is 0) {how}; the same command goes on from the last epoch"
    )
    error.add_note(told.get("extraInfo", {}).get("py_callstack", ""))
    return error


def _end_with(parent: int) -> None:
    """End this process when `parent`, which started it, is gone: nobody else would."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
