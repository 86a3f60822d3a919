"""What goes to standard output and what to standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

log = logging.getLogger("tokensieve")


def log_to_stderr() -> None:
    """Print the lines of our own log to standard error."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.propagate = False  # Prefect adds a handler to the root logger
    log.setLevel(logging.INFO)


class _Lines(logging.StreamHandler[TextIO]):
    """Prints lines above a progress bar, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")
        if bars and not self.stream.closed and self.stream.isatty():
            with bars.tqdm.external_write_mode(file=self.stream):
                super().emit(record)
        else:
            super().emit(record)


def quiet_libraries(debug: bool) -> None:
    """Reduce the logs of the libraries to warnings or less.

    Environment variables that the user has set are kept.
    """
    for vendor in ("mlflow", "alembic", "great_expectations"):
        logging.getLogger(vendor).setLevel(logging.INFO if debug else logging.WARNING)
    defaults = {
        "MLFLOW_LOGGING_LEVEL": "INFO" if debug else "WARNING",
        "HF_HUB_DISABLE_PROGRESS_BARS": "0" if debug else "1",
        "TRANSFORMERS_VERBOSITY": "warning" if debug else "error",
        "TQDM_MININTERVAL": "1",  # our own bars need one update per second
    }
    if not debug:
        defaults["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    for key, value in defaults.items():
        os.environ.setdefault(key, value)


@contextlib.contextmanager
def only_answers_on_stdout() -> Iterator[Callable[[str], None]]:
    """Redirect all output to standard error, including that of libraries and child processes.

    Yields a function that prints a line to the real standard output.
    """
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(real), "w", encoding="utf-8") as output:
            yield lambda line: print(line, file=output, flush=True)
    finally:
        sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)
