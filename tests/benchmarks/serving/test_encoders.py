from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.encoders import FILE, main
from benchmarks.training.results import append

MARKS = "<!-- benchmarks.serving.encoders: begin -->\n<!-- benchmarks.serving.encoders: end -->\n"
TIMED = {
    "cpu": "a processor",
    "texts": "hwu64",
    "encoders": {
        "all-MiniLM-L6-v2": {"p50": 1.5, "p99": 3.0, "variant": "blocks", "megabytes": 60.2},
        "all-mpnet-base-v2": {"p50": 9.0, "p99": 20.0, "variant": "fused", "megabytes": 438.0},
    },
}


OTHER = {"cpu": "another core", "gpu": None, "threads": 1, "torch": "2"}


def cell(encoder: str, task: str, seed: int, **changed: Any) -> dict[str, Any]:
    record = {
        "cell": f"{task}-{seed}-{encoder}",
        "task": task,
        "shots": 10,
        "seed": seed,
        "method": "tokensieve",
        "settings": {"base.model": encoder},
        "accuracy": 0.85 + 0.01 * seed,
        "cpu_seconds": 20.0 + 10.0 * seed,
        "machine": {"cpu": "a core", "gpu": None, "threads": 1, "torch": "2"},
    }
    return record | changed


def test_the_table_has_the_accuracy_the_costs_and_the_size_of_each_encoder(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(TIMED), encoding="utf-8")
    minilm = "sentence-transformers/all-MiniLM-L6-v2"
    for record in (
        cell(minilm, "hwu64_10", 0),
        cell(minilm, "hwu64_10", 1),
        cell(minilm, "hwu64_5", 0, shots=5, accuracy=0.1),
        cell(minilm, "hwu64_10", 0, method="frozen", accuracy=0.1, cell="frozen"),
        cell("all-mpnet-base-v2", "banking77_10", 0, accuracy=0.9),
        cell(minilm, "clinc150_10", 0),
        cell("all-mpnet-base-v2", "clinc150_10", 0, accuracy=0.95, cpu_seconds=999.0, machine=OTHER),
        cell("all-mpnet-base-v2", "hwu64_10", 0, accuracy=0.88, cpu_seconds=160.0),
    ):
        append(tmp_path / "published" / "cpu.jsonl", record)
    page = tmp_path / "page.md"
    page.write_text(MARKS, encoding="utf-8")
    assert main(["--results", str(tmp_path), "--readme", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "| all-MiniLM-L6-v2 | 22 M | – | 85.0 (1) | 85.5 (2) | 20 | 1.50 | 3.00 | blocks | 60 |" in text
    assert (
        "| all-mpnet-base-v2 | 110 M | 90.0 (1) | 95.0 (1) | 88.0 (1) | 160 | 9.00 | 20.00 | fused | 438 |"
        in text
    )
    assert (
        "(hwu64_10), a core, CPU threads: 1, torch 2. Time per text: one thread of a processor, "
        "texts of hwu64." in text
    )


def test_times_that_were_not_measured_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKS, encoding="utf-8")
    assert main(["--results", str(tmp_path), "--readme", str(page)]) == 2
    assert "make it with --projects and --texts" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == MARKS


@pytest.mark.parametrize("arguments", [[], ["--projects", "a"], ["--texts", "a.csv"]])
def test_what_is_missing_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "use --projects together with --texts, or --readme" in capsys.readouterr().err


def test_two_projects_of_one_encoder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("text\nwhere is it\n", encoding="utf-8")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.yaml").write_text("base: {model: /models/encoder}\n", encoding="utf-8")
    projects = f"{tmp_path / 'a'},{tmp_path / 'b'}"
    assert main(["--projects", projects, "--texts", str(texts), "--results", str(tmp_path)]) == 2
    assert "has two projects of the encoder 'encoder'; name one of them" in capsys.readouterr().err
