"""A failed run: the stage, the reason and the remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from flows.failure import Failure, failure_of, noted, page
from tasks.projects.last_run import last_run
from tokensieve.errors import InputError
from tokensieve.files import locked, note_step
from tokensieve.project import Layout


def test_the_remedy_is_the_end_of_the_message() -> None:
    failure = failure_of(InputError("data.csv, row 3: no label; allowed: a text; add one"), "validate")
    assert failure == Failure("validate", "data.csv, row 3: no label; allowed: a text", "add one")
    assert page(failure) == (
        "# Failed in stage validate\n\n**Reason:** data.csv, row 3: no label; allowed: a text\n\n"
        "**Remedy:** add one\n"
    )


def test_a_message_without_a_remedy_is_the_reason() -> None:
    failure = failure_of(InputError("no data"), "ingest")
    assert failure == Failure("ingest", "no data", "")
    assert "**Remedy:** See the log of the run." in page(failure)


def test_the_message_of_an_unexpected_error_may_quote_texts_and_is_left_out() -> None:
    failure = failure_of(ValueError("could not convert 'my secret text'"), "mask")
    assert failure == Failure("mask", "ValueError", "")


def test_an_error_of_the_operating_system_has_its_file() -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO), "/data/caf\udce9\x1b[2J.csv")
    assert failure_of(error, "") == Failure("", r"/data/caf\udce9\x1b[2J.csv: Input/output error", "")
    assert failure_of(OSError("no number"), "").reason == "OSError"


def test_a_name_that_is_too_long_may_be_a_text_and_is_left_out() -> None:
    error = OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "please cancel my card " * 20)
    assert failure_of(error, "").reason == "File name too long"


def test_a_message_of_several_lines_becomes_one() -> None:
    failure = failure_of(InputError("2 checks failed:\na.csv, empty: 1 text; remove it"), "validate")
    assert failure == Failure("validate", "2 checks failed: a.csv, empty: 1 text", "remove it")


def test_no_terminal_acts_on_a_reason() -> None:
    failure = failure_of(InputError("a\x1b[31mb; do c\x07"), "ingest")
    assert failure == Failure("ingest", r"a\x1b[31mb", r"do c\x07")


def test_the_project_has_the_step_the_reason_and_the_remedy(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(InputError), locked(layout.busy), noted(layout):
        note_step(layout.busy, "validate")
        raise InputError("no label; add one")
    run = last_run(layout)
    assert run and (run.step, run.reason) == ("validate", "no label; add one")
    with pytest.raises(ValueError, match="secret"), noted(layout):
        raise ValueError("could not convert 'my secret text'")
    run = last_run(layout)
    assert run and (run.step, run.reason) == ("", "ValueError")
