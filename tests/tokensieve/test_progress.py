"""Lines that say what is under way."""

from __future__ import annotations

import logging
import re
import time
from types import SimpleNamespace

import pytest

from tokensieve import progress
from tokensieve.bars import Bar
from tokensieve.progress import log_while_running


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Return the logged lines, with a limit of 1.2 seconds of silence."""
    monkeypatch.setattr(progress, "SILENCE_SECONDS", 1.2)
    log = logging.getLogger("tokensieve")
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level(logging.INFO, "tokensieve")
    return caplog


def test_a_silent_step_is_logged_with_its_last_duration(
    lines: pytest.LogCaptureFixture,
) -> None:
    with log_while_running("export", last=60.0):
        wait_for_a_line(lines)
    (line,) = lines.messages
    assert re.fullmatch(r"export     [1-9]\d* s so far \(last time 60 s\)", line)


def test_the_line_has_the_states_of_the_outer_and_the_inner_bar(lines: pytest.LogCaptureFixture) -> None:
    with log_while_running("evaluate"), Bar(name="cross-fitting", unit="model", total=4) as outer:
        time.sleep(0.1)
        outer.update()
        with Bar(name="epoch 1 of 3", unit="step", total=9):
            wait_for_a_line(lines)
    (line,) = lines.messages
    assert re.fullmatch(
        r"evaluate   \d+ s so far: cross-fitting, 1 of 4 models, [\d.]+/s, about \d+ s left"
        r"; epoch 1 of 3, 0 of 9 steps",
        line,
    )


def test_a_step_that_logs_often_gets_no_progress_line(
    lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]  # a busy machine may stop this test for as long as the limit
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with log_while_running("finetune"):
        for epoch in range(4):
            logging.getLogger("tokensieve").info("epoch %d", epoch)
            time.sleep(0.6)
            now[0] += 0.6
    now[0] += 60.0
    time.sleep(1.5)
    assert lines.messages == [f"epoch {epoch}" for epoch in range(4)]


def wait_for_a_line(lines: pytest.LogCaptureFixture) -> None:
    end = time.monotonic() + 60
    while not lines.messages:
        assert time.monotonic() < end
        time.sleep(0.05)
