from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from tokensieve.data.raw_data import read_examples
from tokensieve.errors import InputError
from tokensieve.inference.prediction import SINGLE_TASK, Prediction
from tokensieve.server.prediction_log import PredictionLog

ONE = Prediction((("card", 0.75),), True, False, (("card", 0.75), ("cash", 0.25)))
SET = Prediction((("a", 0.9), ("b", 0.8)), False, False, (("a", 0.9),), True)


def test_log_is_valid_training_data(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    for texts, answers in ((["größe\n\0", "<b>"], [ONE, ONE]), (["two"], [SET])):
        prediction_log = PredictionLog(path)
        prediction_log.write(texts, {SINGLE_TASK: answers}, "7")
        prediction_log.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [
        (line["text"], line["label"], line["probability"], line["uncertain"], line["version"])
        for line in lines
    ] == [
        ("größe\n\0", "card", 0.75, True, "7"),
        ("<b>", "card", 0.75, True, "7"),
        ("two", "a|b", 0.9, False, "7"),
    ]
    assert read_examples(path).labels == [("card",), ("card",), ("a|b",)]


def test_shared_model_writes_one_line_per_task(tmp_path: Path) -> None:
    prediction_log = PredictionLog(tmp_path / "texts.jsonl")
    prediction_log.write(["x", "y"], {"cards": [ONE, ONE], "topics": [SET, SET]}, "7")
    prediction_log.close()
    lines = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["task"], line["text"], line["label"]) for line in lines] == [
        ("cards", "x", "card"),
        ("cards", "y", "card"),
        ("topics", "x", "a|b"),
        ("topics", "y", "a|b"),
    ]


def test_line_is_on_disk_before_the_log_is_closed(tmp_path: Path) -> None:
    prediction_log = PredictionLog(tmp_path / "texts.jsonl")
    prediction_log.write(["card"], {SINGLE_TASK: [ONE]}, "7")
    assert (tmp_path / "texts.jsonl").read_text(encoding="utf-8").count("\n") == 1
    prediction_log.close()


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        PredictionLog(tmp_path / "nowhere" / "texts.jsonl")


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs Linux's /dev/full, which is a disk without room"
)
def test_full_disk_is_logged_once_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    prediction_log = PredictionLog(Path("/dev/full"))
    for _ in range(3):
        prediction_log.write(["sesame"], {SINGLE_TASK: [ONE]}, "7")
    prediction_log.close()
    assert [record.getMessage() for record in caplog.records] == [
        "texts are no longer written to the prediction log: No space left on device"
    ]


def test_partly_written_line_is_removed(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of files are those of POSIX")
    path = tmp_path / "texts.jsonl"
    prediction_log = PredictionLog(path)
    prediction_log.write(["card"], {SINGLE_TASK: [ONE]}, "7")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        prediction_log.write(["lost"], {SINGLE_TASK: [ONE]}, "7")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    prediction_log.write(["kept"], {SINGLE_TASK: [ONE]}, "7")
    prediction_log.close()
    assert read_examples(path).texts == ["card", "kept"]


def test_file_that_others_can_read_becomes_private(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "texts.jsonl"
    path.touch()
    path.chmod(0o664)
    PredictionLog(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "could be read by others (mode 0664)" in caplog.text


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_incomplete_line_of_a_crash_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    path = tmp_path / "texts.jsonl"
    prediction_log = PredictionLog(path)
    prediction_log.write(["card"], {SINGLE_TASK: [ONE]}, "7")
    prediction_log.close()
    line = path.read_bytes()
    path.write_bytes(line + line[:cut])
    prediction_log = PredictionLog(path)
    prediction_log.write(["lost"], {SINGLE_TASK: [ONE]}, "7")
    prediction_log.close()
    assert read_examples(path).texts == ["card", "lost"]
    assert f"ended with an incomplete line of {cut} bytes, which was removed" in caplog.text
    path.write_bytes(line[:-1])  # a complete line without a newline is kept
    PredictionLog(path).close()
    assert path.read_bytes() == line


def test_file_of_another_program_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text,label\ncard,card", encoding="utf-8")
    with pytest.raises(InputError, match="incomplete line that is not of this log"):
        PredictionLog(path)
    assert path.read_text(encoding="utf-8") == "text,label\ncard,card"


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(InputError, match="is not a regular file"):
        PredictionLog(path)


def test_failed_reopen_keeps_the_open_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    prediction_log = PredictionLog(folder / "texts.jsonl")
    folder.rename(tmp_path / "moved")
    with caplog.at_level(logging.WARNING):
        prediction_log.reopen()
    prediction_log.write(["card"], {SINGLE_TASK: [ONE]}, "7")
    prediction_log.close()
    assert read_examples(tmp_path / "moved" / "texts.jsonl").texts == ["card"]
    assert "was not opened again" in caplog.text
