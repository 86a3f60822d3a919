from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies.vocabulary import HEADER, NAME, UNFROZEN, VARIANTS, main
from benchmarks.training.experiment import FORMAT
from benchmarks.training.results import append

MEAN, FITTED, *_, TRAINED = (variant.method for variant in VARIANTS)


def cell(method: str, accuracy: float, seed: int, **changed: Any) -> dict[str, Any]:
    record = {
        "cell": f"a/20-{method}-{seed}",
        "format": FORMAT,
        "task": "a",
        "shots": 20,
        "seed": seed,
        "method": method,
        "held_out": False,
        "device": "cpu",
        "accuracy": accuracy,
        "cpu_seconds": 10.0 if method == "tokensieve" else 15.0,
        "machine": {"cpu": "x", "gpu": None, "threads": 1, "torch": "2"},
    }
    return record | changed


def divided(task: str, tokens_per_word: float) -> dict[str, Any]:
    return {
        "cell": f"{task}/full-0",
        "task": task,
        "texts": 1200,
        "words": 400,
        "divided": 0.5,
        "tokens_per_word": tokens_per_word,
        "new_tokens": 200,
        "tokens_per_text": [10.0, 9.0],
        "milliseconds": [2.0, 1.9],
    }


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(f"# Page\n<!-- {NAME}: begin -->\n<!-- {NAME}: end -->\n", encoding="utf-8")
    return path


def test_differences_are_those_of_the_seeds_that_both_have(tmp_path: Path, page: Path) -> None:
    for record in (
        *(cell("tokensieve", 0.7 + seed / 100, seed) for seed in range(3)),
        *(cell(MEAN, 0.69 + seed / 100, seed) for seed in range(2)),
        cell(FITTED, 0.75, 0),
        cell(TRAINED, 0.8, 0),  # of which there is no cell without new tokens
        cell(UNFROZEN, 0.7, 1),
        cell(MEAN, 0.1, 2, held_out=True, cell="held"),
    ):
        append(tmp_path / "20-cpu.jsonl", record)
    for task, tokens in (("jargon", 2.0), ("plain", 1.1)):
        append(tmp_path / "fragmentation.jsonl", divided(task, tokens))
    assert main([str(page), "--results", str(tmp_path)]) == 0
    text = page.read_text(encoding="utf-8")
    assert f"| {' | '.join(HEADER)} |" in text
    assert f"| a | 20 | {VARIANTS[0].title} | 2 | 70.50 | 69.50 | -1.00 | -1.0 to -1.0 | 1.50 |" in text
    assert f"| a | 20 | {VARIANTS[1].title} | 1 | 70.00 | 75.00 | +5.00 | – | 1.50 |" in text
    assert VARIANTS[-1].title not in text
    assert text.index("| plain | 1,200 | 400 | 50% | 1.10 | 200 |") < text.index("| jargon |")


def test_a_folder_without_results_is_named(
    tmp_path: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(page), "--results", str(tmp_path)]) == 2
    assert "has no results" in capsys.readouterr().err


def test_cells_of_all_texts_come_last(tmp_path: Path, page: Path) -> None:
    for shots in (None, 20):
        for method, accuracy in (("tokensieve", 0.7), (MEAN, 0.6)):
            changed = {"shots": shots, "cell": f"a/{shots}-{method}-0"}
            append(tmp_path / "20-cpu.jsonl", cell(method, accuracy, 0, **changed))
    append(tmp_path / "fragmentation.jsonl", divided("a", 1.5))
    assert main([str(page), "--results", str(tmp_path)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.index("| a | 20 |") < text.index("| a | all |")


def test_a_page_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(tmp_path / "20-cpu.jsonl", cell("tokensieve", 0.7, 0))
    append(tmp_path / "fragmentation.jsonl", divided("a", 1.5))
    assert main([str(tmp_path / "none.md"), "--results", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == f"{tmp_path / 'none.md'}: No such file or directory; name another path\n"
    )
