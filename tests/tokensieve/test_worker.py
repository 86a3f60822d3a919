from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

# Starts a worker as a child, prints its id when it is ready, and waits.
PARENT = """
import multiprocessing, os, time
from tokensieve import worker

def work(queue):
    worker.start(os.getppid())
    queue.put(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    context.Process(target=work, args=[queue]).start()
    print(queue.get(), flush=True)
    time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Return whether a process runs. One that has ended may wait to be reaped."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


def test_a_worker_ignores_ctrl_c_and_ends_with_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())

    os.kill(worker, signal.SIGINT)
    time.sleep(1.0)
    assert is_alive(worker)

    parent.kill()
    parent.wait()
    end = time.monotonic() + 30
    while is_alive(worker) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_alive(worker)
