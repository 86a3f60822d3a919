"""What goes to standard output and what to standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tokensieve.disk import os_error_remedy
from tokensieve.errors import InputError
from tokensieve.progress import hide_bars

TEXT, JSON = "text", "json"  # formats of the log

log = logging.getLogger("tokensieve")


def log_to_stderr(quiet: bool = False, log_format: str = TEXT) -> None:
    """Print the lines of our own log to standard error.

    Args:
        quiet: Print warnings and errors only, and show no progress.
        log_format: TEXT, or JSON for one JSON object per line. No progress bar is shown then.
    """
    handler = _Lines(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == JSON else logging.Formatter("%(message)s"))
    # The handler's level, and not the log's: the pages of Prefect show all lines.
    handler.setLevel(logging.WARNING if quiet else logging.INFO)
    log.handlers = [handler]
    log.propagate = False  # Prefect adds a handler to the root logger
    log.setLevel(logging.INFO)
    if quiet or log_format == JSON:
        hide_bars()
    if quiet or log_format == JSON:
        # Those of the server itself. It leaves a log with a handler as it is.
        server = logging.getLogger("uvicorn")
        server.handlers, server.propagate = [handler], False
        server.setLevel(logging.INFO)


def error_line(message: str, log_format: str = TEXT) -> str:
    """Return an error as a line of the log."""
    return json_line("error", message) if log_format == JSON else f"tokensieve: {message}"


def json_line(level: str, message: str) -> str:
    """Return a line of the log as a JSON object: time (UTC, ISO 8601), level and message."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "level": level, "message": message.strip()}, ensure_ascii=False)


class JsonLines(logging.Formatter):
    """Formats a line of the log as a JSON object.

    Of an exception, it has the class alone: a stack trace may quote texts.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        kind = record.exc_info[0] if record.exc_info else None
        message = record.getMessage() + (f" ({kind.__name__})" if kind else "")
        return json_line(record.levelname.lower(), message)


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


class ReaderGoneError(Exception):
    """Whoever reads standard output has closed it, as `head` does."""


def open_closed_streams() -> None:
    """Open those of the standard streams that are closed, as for some daemons, as empty ones."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - stays open


@contextlib.contextmanager
def only_answers_on_stdout() -> Iterator[Callable[[str], None]]:
    """Redirect all output to standard error, including that of libraries and child processes.

    Yields a function that prints a line to the real standard output.

    Raises:
        ReaderGoneError: If its reader has closed it.
        InputError: If it is a file that cannot be written.
    """
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(real), "w", encoding="utf-8") as output:
            yield lambda line: _print(line, output)
    finally:
        sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)


def _print(line: str, output: TextIO) -> None:
    try:
        print(line, file=output, flush=True)
    except OSError as error:
        # What is still in the buffer is written when the file is closed.
        with Path(os.devnull).open("w", encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), output.fileno())
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from None
        reason = str(error.strerror).lower()
        raise InputError(f"standard output cannot be written ({reason}); {os_error_remedy(error)}") from None
