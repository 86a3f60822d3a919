"""Kill an action before each of its changes to the files of a folder, as `kill -9` does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CHANGES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def killed_before_each_change(action: Callable[[], object], folder: Path) -> Iterator[tuple[int, str]]:
    """Run `action` in a child process that is killed before its n-th change in `folder`.

    Yield n and the change after each kill, for n = 1, 2 and so on. It ends with the first child
    that completes the action.
    """
    number = 1
    while True:
        source, sink = os.pipe()
        child = os.fork()
        if not child:
            os.close(source)
            _run(action, folder, number, sink)
        os.close(sink)
        with os.fdopen(source, "rb") as reader:
            change = reader.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"the action failed: {change}"
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        yield number, change
        number += 1


def _run(action: Callable[[], object], folder: Path, number: int, sink: int) -> None:
    """Run the action in this process, which does not return. `sink` gets the error of a failure."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in CHANGES or not _is_inside(event, arguments, str(folder)):
            return
        seen += 1
        if seen == number:
            os.write(sink, f"{event} {arguments[:2]}".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        action()
    except BaseException as error:
        os.write(sink, repr(error).encode())
        os._exit(1)
    os._exit(0)


def _is_inside(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    path = arguments[0]
    if isinstance(path, int) or (event == "open" and not (arguments[2] or 0) & WRITING):
        return False
    path = os.fsdecode(path)
    if not path.startswith("/"):
        # shutil.rmtree names files relative to an open folder, the last argument.
        base = f"/proc/self/fd/{arguments[-1]}" if event != "open" and arguments[-1] != -1 else "."
        path = os.path.join(os.path.realpath(base), path)  # noqa: PTH118
    return path.startswith(f"{folder}/")
