from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.settings import render
from tokensieve.settings.renamed import _warn_once


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(render(), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_earlier_warnings() -> None:
    """Old names are reported once per process; each test is a process of its own in this
    respect.
    """
    _warn_once.cache_clear()
