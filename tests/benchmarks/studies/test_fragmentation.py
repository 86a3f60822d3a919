from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies.fragmentation import HEADER, main
from benchmarks.training.experiment import Setup
from benchmarks.training.results import read


def test_a_record_and_a_row_per_task(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results.jsonl"
    asked = ["--data", str(setup.data), "--base", setup.base, "--output", str(output)]
    assert main([*asked, "--tasks", "tiny,several", "--new-tokens", "20"]) == 0
    records = read(output)
    assert list(records) == ["tiny/full-0", "several/full-0"]
    tiny = records["tiny/full-0"]
    assert 0 < tiny["divided"] < 1
    assert tiny["tokens_per_word"] > 1
    assert 0 < tiny["new_tokens"] <= 20
    assert tiny["excess_tokens"] < tiny["train_tokens"]
    before, after = tiny["tokens_per_text"]
    assert after < before
    assert all(milliseconds > 0 for milliseconds in tiny["milliseconds"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == f"| {' | '.join(HEADER)} |"
    assert rows[0].startswith(f"| tiny | {tiny['texts']} | {tiny['words']} | {tiny['divided']:.0%} |")
    assert len(rows) == 2


def test_a_task_that_is_not_there_is_named(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--data", str(setup.data), "--base", setup.base, "--output", str(tmp_path / "x")]
    assert main([*asked, "--tasks", "other"]) == 2
    assert "task 'other'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
