"""What a run prints on a terminal and into a pipe: our own lines, and enough of them."""

from __future__ import annotations

import fcntl
import io
import itertools
import json
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.system.conftest import BIN

# A line of a run: a stage, an epoch, a setting, a progress bar in a unit of ours, the summary.
OURS = re.compile(
    r"""(?x) \s* (
    $ | (start|ingest|registry|validate|split|vocabulary|audit|mask|finetune|evaluate|export|register|gate
        |report)
        \s+ (\.\.\.|unchanged|\d)
    | plan \s+ (runs|every) \b
    | params\.yaml: | epoch \s | \w+ \s is \s (served|refused)
    | agree: | builds \s are | \d+ \s validation \s texts:
    | [┏┡└┃│] | classifier\b | project\b | gate: | audit:
    | [\w\ -]+ : .* [ /?\d] (text|step|turn|variant|row|model|task|pair|tree) (/s)? [\],]
    | (try|serve|promote|correct) \s it \b | the \s (data|mask|run|report|audit|build) \b | confusions \b
    | warning: | note:
    | then \s open \b
    | figure \b
    | A \s linear \s SVM | Good \s enough | Not \s good \s enough
    )"""
)


@pytest.mark.timeout(600)
def test_a_run_prints_our_lines_alone(
    environment: dict[str, str], small: list[str], data_file: Path, tmp_path: Path
) -> None:
    # As a user has it, behind a proxy that does not answer, and without any of the variables that
    # switch reports off.
    reports = ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED")
    variables = {key: value for key, value in environment.items() if key not in reports} | {
        "TERM": "xterm-256color"
    }
    variables |= dict.fromkeys(("http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    out, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    command = [str(BIN / "tokensieve"), "run", "--project", "project", "--data", str(data_file), *small]
    process = subprocess.Popen(
        command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=variables,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(inside)
    printed = b""
    while True:
        try:
            printed += os.read(out, 1 << 16)
        except OSError:
            break
    os.close(out)
    text = printed.decode()
    assert process.wait(60) == 0, text
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")
    assert [line for line in lines if not OURS.match(line)] == []
    assert len(text) < 20_000  # about 12,000, of which the summary is 4,000


@pytest.mark.timeout(600)
def test_a_run_into_a_pipe_is_never_silent_for_long(
    environment: dict[str, str],
    tokensieve: Callable[..., subprocess.CompletedProcess[str]],
    small: list[str],
    data_file: Path,
    tmp_path: Path,
) -> None:
    """Another run holds the project meanwhile."""
    assert tokensieve("init", "project", "--data", str(data_file)).returncode == 0
    with FileLock(tmp_path / "project" / ".tokensieve" / "lock") as lock:
        process = subprocess.Popen(
            [str(BIN / "tokensieve"), "run", "--project", "project", *small],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=tmp_path,
            text=True,
        )
        times, lines = [time.monotonic()], []
        with process.stdout or io.StringIO() as output:
            for line in output:
                times.append(time.monotonic())
                lines.append(line)
                if line.startswith("waiting    "):
                    lock.release(force=True)
    assert process.wait(60) == 0, "".join(lines)
    assert any(re.match(r"waiting    [2-4]\d s", line) for line in lines), "".join(lines)
    assert (
        max(after - before for before, after in itertools.pairwise(times)) < 45.0
    )  # every 25 s, on a machine that may be busy
    summary = " ".join("".join(lines).replace("│", " ").split())
    assert re.search(
        r"start [\d.]+ \(imports and the Prefect server\), checks and bookkeeping [\d.]+; total [\d.]+",
        summary,
    )


@pytest.mark.timeout(600)
def test_a_log_of_json_is_json_alone_and_a_quiet_run_is_quiet(
    tokensieve: Callable[..., subprocess.CompletedProcess[str]], small: list[str], data_file: Path
) -> None:
    done = tokensieve("run", "--project", "project", "--data", str(data_file), "--log-format", "json", *small)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(line.keys() == {"time", "level", "message"} for line in lines)
    (plan,) = [line["message"] for line in lines if line["message"].startswith("plan ")]
    assert re.fullmatch(r"plan +runs validate, split, .*, register; first time, so no estimate", plan)
    texts = [row.rsplit(",", 1)[0] for row in data_file.read_text(encoding="utf-8").splitlines()[1:]]
    assert not [text for text in texts if text in done.stderr]
    assert done.stdout.rstrip().endswith("report.html")

    again = tokensieve("run", "--project", "project", "--quiet")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.rstrip().endswith("report.html")


@pytest.mark.timeout(600)
def test_a_run_that_fails_ends_at_once_without_a_word_of_the_server(
    tmp_path: Path, environment: dict[str, str], data_file: Path, small: list[str]
) -> None:
    command = [
        "tokensieve",
        "run",
        "--project",
        str(tmp_path / "project"),
        "--data",
        str(data_file),
        *small,
        "base.model=nosuch",
    ]
    program = [str(BIN / command[0]), *command[1:]]
    with subprocess.Popen(
        program, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("tokensieve: "):
                break
        told = time.monotonic()
        rest = process.stderr.read()
        assert process.wait(60) == 2, "".join(lines)
    assert time.monotonic() - told < 45
    assert re.fullmatch(r"The settings of this command are undone\. .* type: tokensieve run .*\n", rest)
