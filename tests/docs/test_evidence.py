"""The tables of the evidence page are those that the stored results give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.mark.system
def test_the_tables_of_the_evidence_are_current(tmp_path: Path) -> None:
    from benchmarks.serving import encoders, run, variants
    from benchmarks.training import report, vocabulary

    stored, page = ROOT / "docs/explanation/evidence.md", tmp_path / "evidence.md"
    shutil.copyfile(stored, page)
    results = shutil.copytree(ROOT / "benchmarks/results", tmp_path / "results")
    assert report.main(["--results", str(results), "--readme", str(page)]) == 0
    assert run.main(["--output", str(results / "serving.json"), "--readme", str(page)]) == 0
    assert vocabulary.main([str(page), "--results", str(results / "vocabulary")]) == 0
    assert page.read_text(encoding="utf-8") == stored.read_text(encoding="utf-8")
    stored, page = ROOT / "docs/how-to/base-model.md", tmp_path / "base-model.md"
    shutil.copyfile(stored, page)
    assert encoders.main(["--results", str(results), "--readme", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == stored.read_text(encoding="utf-8")
    stored, page = ROOT / "docs/explanation/export.md", tmp_path / "export.md"
    shutil.copyfile(stored, page)
    assert variants.main(["--results", str(results / "variants.jsonl"), "--readme", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == stored.read_text(encoding="utf-8")
