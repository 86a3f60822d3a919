from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tasks.upgrade import never_cached

TEMPLATE = Path(__file__).parents[2] / "dvc.yaml"


def test_the_template_needs_nothing() -> None:
    before = TEMPLATE.read_text(encoding="utf-8")
    never_cached(TEMPLATE, "register")
    assert TEMPLATE.read_text(encoding="utf-8") == before


def test_a_pipeline_of_before_is_marked_once(tmp_path: Path) -> None:
    path, whole = tmp_path / "dvc.yaml", TEMPLATE.read_text(encoding="utf-8")
    before = whole.replace("    always_changed: true\n", "")
    path.write_text(before, encoding="utf-8")
    never_cached(path, "register")
    never_cached(path, "register")
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == yaml.safe_load(whole)
    assert path.read_text(encoding="utf-8").replace("    always_changed: true\n", "") == before


def test_a_pipeline_of_another_form_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dvc.yaml"
    for text in ("stages: {register: {cmd: tokensieve stage register}}\n", "stages:\n  other: {cmd: a}\n"):
        path.write_text(text, encoding="utf-8")
        never_cached(path, "register")
        assert path.read_text(encoding="utf-8") == text
