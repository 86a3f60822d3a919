"""The command line.

Each command imports the modules that it needs when it runs, so that `predict` starts without
PyTorch or Prefect.
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tokensieve.cli.interrupts import INTERRUPTED, Interrupts, watched
from tokensieve.cli.output import (
    JSON,
    ReaderGoneError,
    error_line,
    log_to_stderr,
    only_answers_on_stdout,
    open_closed_streams,
    quiet_libraries,
)
from tokensieve.cli.parser import build_parser
from tokensieve.cli.renamed import with_new_names
from tokensieve.disk import full_disk_error, permission_error
from tokensieve.errors import InputError, Refused
from tokensieve.packages import PACKAGES

INVALID_INPUT, INTERNAL_ERROR, REFUSED = 2, 1, 1
READER_GONE = 141  # as of a program that SIGPIPE ends


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0 success, 1 internal error or a refusal, 2 invalid input, 130 or 143 after a signal, 141 if the
    reader of the output has closed it.
    """
    open_closed_streams()
    parser = build_parser()
    words = with_new_names(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    if "command" not in options:
        parser.print_help()
        return 0
    log_to_stderr(options.quiet, options.log_format)
    quiet_libraries(options.debug)
    if options.command.handles_signals:
        return _status(options, words, Interrupts())
    with watched(error_line(INTERRUPTED, options.log_format)) as interrupts:
        status = _status(options, words, interrupts)
        if interrupts.number:
            interrupts.announce()
            status = interrupts.status
            if arguments is None:
                # In a program of its own, threads that compute or wait for a server would delay the
                # end of Python.
                interrupts.end()
    if arguments is None:
        # Otherwise a last garbage collection of the libraries' objects takes a second.
        gc.freeze()
    return status


def _status(options: argparse.Namespace, words: Sequence[str], interrupts: Interrupts) -> int:
    """Run a command and return its exit status. Errors that follow a signal are ignored."""
    try:
        with only_answers_on_stdout() as answer:
            return int(options.command.run(options, answer) or 0)
    except KeyboardInterrupt:
        # A library may have replaced our handler.
        interrupts.number = interrupts.number or signal.SIGINT
        return interrupts.status
    except ReaderGoneError:
        return READER_GONE
    except Exception as error:
        if interrupts.number:
            return interrupts.status
        if options.debug:
            raise
        if message := _input_message(error, options, words):
            print(error_line(message, options.log_format), file=sys.stderr)
            return REFUSED if isinstance(error, Refused) else INVALID_INPUT
        message = f"{type(error).__name__}: {error} (--debug shows the stack trace)"
        print(error_line(message, options.log_format), file=sys.stderr)
        return INTERNAL_ERROR


def _input_message(error: Exception, options: argparse.Namespace, words: Sequence[str]) -> str:
    """Return the message of an error that the user can correct; empty for an internal error."""
    if isinstance(error, InputError):
        # The detail may quote texts, which do not belong in a log that programs collect. That of a
        # refusal is the table of the gate.
        hidden = options.log_format == JSON and not isinstance(error, Refused)
        assignments = getattr(options, "set", None)
        again = ""
        if assignments and not isinstance(error, Refused):
            from tokensieve.cli.retyped import retyped

            again = retyped(words, assignments, str(error))
        return "\n".join(filter(None, [str(error), *([] if hidden else [error.detail, again])]))
    if isinstance(error, ModuleNotFoundError) and options.command.extra:
        package = str(error.name).partition(".")[0]
        if package not in ("tokensieve", *PACKAGES):
            return (
                f"tokensieve {options.command.name} needs the package {package}, which is not installed; "
                f"install it with: pip install 'tokensieve[{options.command.extra}]'"
            )
    project = Path(getattr(options, "project", "."))
    return str(full_disk_error(error, project) or permission_error(error, project) or "")
