"""The sample project as `make run` runs it: the behaviour tests of the trained model."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parent.parent.parent / "data" / "freight"


@pytest.mark.timeout(1200)
def test_sample_model_behaves_as_its_cases_expect(
    tokensieve: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    project = tmp_path / "freight"
    done = tokensieve(
        "run", "--project", project, "--data", SAMPLE, "--set", "export.variants=[fp32]", timeout=1000
    )
    assert done.returncode == 0, done.stderr

    checked = tokensieve("check", "--project", project, "--cases", SAMPLE / "cases.yaml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    for kind in ("minimum_functionality", "invariance", "direction"):
        assert f"\n{kind}" in checked.stdout
