"""Prefect's temporary server: why it did not start."""

from __future__ import annotations

import pytest

from flows.temporary_server import _lines, _not_started
from tokensieve.disk import DiskFullError

HINT = "[SQL: CREATE TABLE x]\n(Background on this error at: https://sqlalche.me/e/20/e3q8)\n"


@pytest.mark.parametrize(
    "line",
    [
        "sqlite3.OperationalError: database or disk is full",
        "OSError: [Errno 28] No space left on device: '/home/x/lock'",
    ],
)
def test_a_full_disk_is_named_with_the_folder(line: str) -> None:
    error = _not_started(_lines(f"Traceback\n{line}\n{HINT}"), 3)
    assert isinstance(error, DiskFullError)
    assert "did not start: the disk of /" in str(error)
    assert line in str(error)
    assert "sqlalche.me" not in str(error)


def test_the_reason_is_the_last_line_that_says_one() -> None:
    assert "did not start (exit status 3); correct that" in str(_not_started(_lines("\n"), 3))
    hint = HINT.splitlines()[1]
    assert "did not start (ModuleNotFoundError: x)" in str(
        _not_started(_lines(f"ModuleNotFoundError: x\n\n{hint}\n"), 3)
    )
