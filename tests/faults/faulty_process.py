"""Kill this process before its FAULT_NUMBER-th write to a path that matches FAULT_PATTERN.

With FAULT_FILLER, write that file instead, until its disk is full. Python imports this module at
its start, under the name sitecustomize.
"""

import os
import re
import signal
import sys

PATTERN, NUMBER = os.environ.get("FAULT_PATTERN", ""), int(os.environ.get("FAULT_NUMBER", "1"))
FILLER = os.environ.get("FAULT_FILLER", "")
WRITING = os.O_WRONLY | os.O_RDWR
seen = 0


def hook(event, arguments):
    global seen  # noqa: PLW0603
    if event == "open" and (arguments[2] or 0) & WRITING:
        path = arguments[0]
    elif event == "os.rename":
        path = arguments[1]
    else:
        return
    if isinstance(path, str | bytes | os.PathLike) and re.search(PATTERN, os.fsdecode(path)):
        seen += 1
        if seen == NUMBER and FILLER:
            fill()
        elif seen == NUMBER:
            os.kill(os.getpid(), signal.SIGKILL)


def fill():
    descriptor = os.open(FILLER, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError:
        os.close(descriptor)


if PATTERN:
    sys.addaudithook(hook)
