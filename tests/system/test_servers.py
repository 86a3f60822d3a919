"""The servers that the pipeline relies on start in their pinned versions, on SQLite and on
PostgreSQL, without an error in their logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Started = Callable[..., Any]


@pytest.mark.timeout(600)
def test_prefect_and_mlflow_start_on_postgresql(
    start_prefect: Started, start_mlflow: Started, postgres: Callable[[str], str]
) -> None:
    prefect = start_prefect(re.sub("^postgresql:", "postgresql+asyncpg:", postgres("prefect_start")))
    mlflow = start_mlflow(postgres("mlflow_start"))
    assert prefect.errors() == []
    assert mlflow.errors() == []
