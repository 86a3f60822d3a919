"""What `tokensieve up` prints when all is ready."""

from __future__ import annotations

from pathlib import Path

from flows.up.plan import Plan, table
from flows.up.service import Service
from tokensieve.project import Layout


def test_the_variable_that_brings_other_runs_to_the_page_is_printed(tmp_path: Path) -> None:
    def service(name: str) -> Service:
        return Service(name, (), tmp_path / "log", lambda began: True, f"at {name}")

    addresses = {"prefect_api": "http://127.0.0.1:4200/api", "mlflow": "http://127.0.0.1:5000"}
    servers, rest = [service("Prefect")], [service(name) for name in ("deploy", "worker", "server")]
    plan = Plan(Layout(tmp_path), servers, *rest, ["nightly (on request)"], "", addresses, True)
    lines = table(plan).splitlines()
    assert lines[0] == "Prefect   at Prefect"
    assert "runs      nightly (on request)" in lines
    place = next(i for i, line in enumerate(lines) if line.startswith("pages "))
    assert lines[place + 1].strip() == "first: export PREFECT_API_URL=http://127.0.0.1:4200/api"
