"""Kill this process before its KILL_NUMBER-th write to a path that matches KILL_PATTERN.

Python imports it at its start, under the name sitecustomize.
"""

import os
import re
import signal
import sys

PATTERN, NUMBER = os.environ.get("KILL_PATTERN", ""), int(os.environ.get("KILL_NUMBER", "1"))
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
        if seen == NUMBER:
            os.kill(os.getpid(), signal.SIGKILL)


if PATTERN:
    sys.addaudithook(hook)
