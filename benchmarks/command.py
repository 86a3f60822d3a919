"""The commands of the benchmarks: invalid input ends in one line and exit status 2."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

from tokensieve.errors import InputError

P = ParamSpec("P")


def reports_input_errors(main: Callable[P, int]) -> Callable[P, int]:
    """Return `main`, which now prints an error of the input in one line, and returns 2.

    Such errors are InputError, and those of a file that cannot be read or written.
    """

    @functools.wraps(main)
    def command(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except InputError as error:
            print(error, file=sys.stderr)
        except OSError as error:
            if error.filename is None:  # not about a file that the user named
                raise
            print(f"{error.filename}: {error.strerror}; name another path", file=sys.stderr)
        return 2

    return command
