from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving import variants
from benchmarks.serving.variants import main, tables

AMX = ["avx2", "avx512_vnni", "amx_int8"]


def row(project: str, variant: str, milliseconds: float, saturates: bool, **more: Any) -> dict[str, Any]:
    compared = {
        "texts": 1200,
        "other_labels": 3,
        "confident_texts": 1100,
        "other_confident_labels": 1,
        "megabytes": 23.8,
        "largest_difference": 0.5,
        "accuracy_drop": 0.0025,
        "accuracy_drop_chance": 0.25,
        "violations": [],
    }
    place = {"project": project, "saturates": saturates, "processor": "Tiny 9000", "instructions": ["avx2"]}
    return place | compared | {"variant": variant, "milliseconds": milliseconds} | more


def test_a_table_per_kind_of_processor_with_ratios_and_what_is_kept(tmp_path: Path) -> None:
    found = [
        row("cards", "fp32", 4.0, False),
        row("cards", "int8", 1.0, False, violations=["max_accuracy_drop"]),
        row("cards", "mixed", 2.0, False),
        row("cards", "fp32", 8.0, True),
        row("cards", "int8", 9.0, True),
        row("cards", "fp32", 6.0, False, instructions=AMX),
        row("cards", "int8", 3.0, False, instructions=AMX),
    ]
    (tmp_path / "variants.jsonl").write_text("".join(json.dumps(each) + "\n" for each in found))
    text = tables(tmp_path / "variants.jsonl")
    newer, _, rest = text.partition("With AMX (Tiny 9000)")
    amx, _, older = rest.partition("AVX2 without VNNI (Tiny 9000)")
    assert "| cards | `int8` | 0.50 | 3 of 1,200 | 1 of 1,100 | -0.25 (0.25) | served |" in amx
    assert "| cards | `int8` | 0.25 | 3 of 1,200 | 1 of 1,100 | -0.25 (0.25) | `max_accuracy_drop` |" in newer
    assert "| cards | `mixed` | 0.50 | 3 of 1,200 | 1 of 1,100 | -0.25 (0.25) | served |" in newer
    assert "`fp32`" not in newer
    assert "| cards | `fp32` | 1.00 |" in older
    assert "| cards | `int8` | 1.12 | 3 of 1,200 | 1 of 1,100 | -0.25 (0.25) | kept |" in older


def test_a_share_without_a_loss_has_no_minus(tmp_path: Path) -> None:
    found = [
        row("cards", "fp32", 4.0, False, accuracy_drop=0.0),
        row("cards", "int8", 1.0, False, accuracy_drop=0.0),
    ]
    (tmp_path / "variants.jsonl").write_text("".join(json.dumps(each) + "\n" for each in found))
    assert "| cards | `int8` | 0.25 | 3 of 1,200 | 1 of 1,100 | +0.00 (0.25) | served |" in tables(
        tmp_path / "variants.jsonl"
    )


def test_rows_of_the_same_project_and_processor_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "variants.jsonl"
    for milliseconds, saturates, more in (
        (4.0, False, {}),
        (8.0, True, {}),
        (6.0, False, {"instructions": AMX}),
        (5.0, False, {}),
    ):
        rows = [row("cards", "fp32", milliseconds, saturates, **more)]
        monkeypatch.setattr(variants, "measure", lambda _, rows=rows: rows)
        assert main(["--projects", str(tmp_path / "cards"), "--results", str(file)]) == 0
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(each["saturates"], each["milliseconds"]) for each in kept] == [
        (True, 8.0),
        (False, 6.0),
        (False, 5.0),
    ]


def test_without_results_the_command_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    assert main(["--readme", str(page), "--results", str(tmp_path / "none.jsonl")]) == 2
    assert "make them with --projects" in capsys.readouterr().err
