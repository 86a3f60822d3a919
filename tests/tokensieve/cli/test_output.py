from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tokensieve import progress
from tokensieve.cli import parser
from tokensieve.cli.main import _input_message, main
from tokensieve.cli.output import JSON, TEXT, log_to_stderr
from tokensieve.errors import InputError, Refused

log = logging.getLogger("tokensieve")
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore what `log_to_stderr` changes."""
    server = logging.getLogger("uvicorn")
    before = (server.handlers, server.propagate, server.level)
    monkeypatch.setattr(progress, "_hidden", type(progress._hidden)())
    yield
    server.handlers, server.propagate, server.level = before


def test_by_default_a_line_is_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    log.info("mask       ...")
    assert capsys.readouterr().err == "mask       ...\n"
    assert not progress.bars_hidden()


def test_quiet_prints_warnings_alone_and_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(quiet=True)
    log.info("mask       ...")
    logging.getLogger("uvicorn.error").info("Uvicorn running")
    log.warning("warning: few texts")
    assert capsys.readouterr().err == "warning: few texts\n"
    assert progress.bars_hidden()
    assert log.isEnabledFor(logging.INFO), "Prefect's page has all lines"


def test_a_line_of_json_has_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(log_format=JSON)
    log.info("  %s is\nserved “ü”", "int8")
    logging.getLogger("uvicorn.error").warning("slow")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("info", "int8 is\nserved “ü”"),
        ("warning", "slow"),
    ]
    assert datetime.fromisoformat(lines[0]["time"]).utcoffset() is not None
    assert progress.bars_hidden()


def test_a_stack_trace_is_no_part_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(log_format=JSON)
    try:
        raise ValueError("my private words")
    except ValueError:
        log.exception("a task failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "a task failed (ValueError)"


def test_an_error_is_a_line_of_the_log(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["predict", "--model", str(tmp_path / "nosuch"), "a text", "--log-format", "json"]
    assert main(command) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert (tree := json.loads(line))["level"] == "error"
    assert "nosuch does not exist" in tree["message"]


def test_texts_of_rows_at_fault_are_not_in_the_log_for_programs() -> None:
    text, for_programs = Namespace(log_format=TEXT), Namespace(log_format=JSON)
    fault = InputError("bad.csv: 1 row", detail="line 6: text 'my private words'")
    assert _input_message(fault, text, []) == "bad.csv: 1 row\nline 6: text 'my private words'"
    assert _input_message(fault, for_programs, []) == "bad.csv: 1 row"
    refused = Refused("the gate refuses it", detail="rule  value")
    assert _input_message(refused, for_programs, []) == "the gate refuses it\nrule  value"


@pytest.mark.parametrize(
    ("redirected", "status", "shown"),
    [
        # bash counts the first program of a pipe with pipefail.
        ("< texts | head -n 1", 141, ""),
        ("my card >&-", 0, ""),
        ("my card <&-", 0, ""),
        ("<&-", 2, "standard input is empty"),
        ("my card > /dev/full", 2, "standard output cannot be written (no space left on device); free"),
    ],
)
def test_a_stream_may_be_closed_or_full(
    redirected: str, status: int, shown: str, served_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts").write_text("my card is lost\n" * 5000)
    predict = f"{sys.executable} -m tokensieve predict --model {served_folder}"
    command = ["bash", "-c", f"set -o pipefail; {predict} {redirected}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert shown in done.stderr and "Traceback" not in done.stderr and "Error" not in done.stderr


@pytest.mark.parametrize("value", ["1", ""])
def test_no_color_makes_the_help_plain(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr(parser.sys.stdout, "isatty", lambda: True, raising=False)
    formatter = type(parser.build_parser()._get_formatter()).__name__
    assert formatter == ("HelpFormatter" if value else "Coloured")
