"""The tables of the pages on evidence are those that the stored results give."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.mark.system
def test_the_tables_of_measurements_are_current(tmp_path: Path) -> None:
    from benchmarks.serving import encoders, run, variants
    from benchmarks.studies import vocabulary
    from benchmarks.training import report

    results = shutil.copytree(ROOT / "benchmarks/results", tmp_path / "results")
    commands: dict[str, Callable[[str], int]] = {
        "docs/explanation/evidence.md": lambda page: report.main(
            ["--results", str(results), "--readme", page]
        ),
        "docs/explanation/serving-measurements.md": lambda page: run.main(
            ["--output", str(results / "serving.json"), "--readme", page]
        ),
        "docs/explanation/new-tokens.md": lambda page: vocabulary.main(
            [page, "--results", str(results / "vocabulary")]
        ),
        "docs/how-to/base-model.md": lambda page: encoders.main(
            ["--results", str(results), "--readme", page]
        ),
        "docs/explanation/export.md": lambda page: variants.main(
            ["--results", str(results / "variants.jsonl"), "--readme", page]
        ),
    }
    for name, write_tables in commands.items():
        stored, page = ROOT / name, tmp_path / Path(name).name
        shutil.copyfile(stored, page)
        assert write_tables(str(page)) == 0
        assert page.read_text(encoding="utf-8") == stored.read_text(encoding="utf-8"), name
