"""The command `tokensieve up`: all servers of a project on this machine, until a signal."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tokensieve.cli.command import RUN, Answer, Command, add_project
from tokensieve.errors import InputError, excerpt

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAILED = 1  # exit status

log = logging.getLogger("tokensieve")


def up(options: argparse.Namespace, answer: Answer) -> int:
    """Start Prefect, MLflow, a worker with the schedules, and the inference server, until Ctrl-C.

    A service that ends is started again. The exit status is 1 if it ends six times in a row.

    Raises:
        InputError: If an option or the environment is wrong, a port is taken, or a service does not
            start.
    """
    from filelock import FileLock, Timeout

    from flows.up import plan, run_lines, supervisor
    from tasks.projects.project import open_project
    from tokensieve.files import write_json

    _refuse(options)
    layout = open_project(Path(options.project))
    Path(layout.up).mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(Path(layout.up) / "lock", timeout=0))
        except Timeout:
            raise InputError(f"tokensieve up runs already for {layout.root}; end it first") from None
        planned = plan.make(layout, options)
        lines = run_lines.RunLines(layout)
        stop = stack.enter_context(_signals())
        running = supervisor.Supervisor(stop, lambda service: log.info("%s is ready", service.name))
        stack.callback(running.end)
        try:
            running.start(planned.servers)
            # Other commands of the project find the servers by it.
            write_json(layout.addresses, planned.addresses)
            stack.callback(layout.addresses.unlink, missing_ok=True)
            running.run(planned.deploy)
            running.start([planned.worker])
            answer(plan.table(planned))
            running.watch([planned.server], lines.log_new)
        except supervisor.StoppedError:
            log.info("ending all services; again to end them at once")
        except supervisor.ServiceFailedError as error:
            log.error("tokensieve: %s", error)
            return FAILED
    return 0


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """Yield an event that is set at each signal of SIGNALS that is not ignored."""
    stop = threading.Event()
    # A signal that is ignored, as SIGHUP is after nohup, stays so.
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse(options: argparse.Namespace) -> None:
    """Raise InputError if an option or a variable of the environment is wrong."""
    if os.environ.get("PREFECT_API_URL"):
        raise InputError(
            "PREFECT_API_URL names a Prefect server, and tokensieve up starts one of its own; unset it, "
            "or deploy deploy/prefect.yaml on that server (how-to guide: Retrain on a schedule)"
        )
    if options.test and not options.data:
        raise InputError("--test needs --data; use both")
    for name in ("data", "test"):
        address = getattr(options, name)
        if address and "://" in address:
            if urlsplit(address).password and "${" not in address:
                raise InputError(
                    f"--{name} has a password, which Prefect would keep; write ${{NAME}} for it, "
                    "and set the environment variable NAME"
                )
        elif address:
            path = Path(address).resolve()
            if not path.exists():
                raise InputError(
                    f"--{name} {excerpt(address)} does not exist; give a file, a folder or a URL"
                )
            setattr(options, name, str(path))
    if options.log_texts:
        # The worker and the server have other working folders.
        options.log_texts = str(Path(options.log_texts).resolve())


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser, created=True)
    about = "what scheduled runs read: file, folder or URL (default: the project's present data)"
    parser.add_argument("--data", metavar="PATH", help=about)
    parser.add_argument("--test", metavar="PATH", help="file or URL of the test set")
    about = "file to which the inference server writes texts and predictions, and in which the "
    about += "deployment monitor looks for drift (default: no text is stored)"
    parser.add_argument("--log-texts", metavar="FILE", help=about)
    about = "PostgreSQL server for Prefect and MLflow, postgresql://USER@HOST:PORT, without a password"
    parser.add_argument("--postgres", metavar="URL", help=f"{about} (default: SQLite files of the project)")
    about = "address that the inference server listens on; the others listen on 127.0.0.1"
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help=f"{about} (default: 127.0.0.1)")
    for name, of, default in (
        ("--port", "the inference server", 8000),
        ("--prefect-port", "Prefect's server", 4200),
        ("--mlflow-port", "MLflow's server", 5000),
    ):
        parser.add_argument(
            name, type=int, default=default, metavar="PORT", help=f"port of {of} (default: {default})"
        )


COMMANDS = (Command("up", RUN, up, _add_arguments, extra="pipeline", handles_signals=True),)
