"""A run as a person finds it in MLflow's pages: by its address, and in the list of the runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.system.chromium import TIMEOUT


@pytest.mark.timeout(600)
def test_a_newcomer_finds_run_data_classes_picture_and_model(
    start_mlflow: Callable[..., Any],
    environment: dict[str, str],
    tokensieve: Callable[..., Any],
    small: list[str],
    data_file: Path,
    browser: Browser,
) -> None:
    server = start_mlflow().url.removesuffix("/health")
    environment["MLFLOW_TRACKING_URI"] = server
    done = tokensieve("run", "--project", "mails", "--data", str(data_file), "--json", *small)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT)
    name = f"v1 {data_file.name} {result['test_accuracy']:.3f}"

    # The list of the runs, and not traces of a language model.
    experiment, run = result["run_page"].split("/runs/")
    page.goto(f"{experiment}?workflowType=machine_learning")
    expect(page.get_by_role("link", name=name)).to_be_visible()

    page.goto(result["run_page"])
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text(f"{data_file.name} ({result['data_hash']})")).to_be_visible()
    expect(page.get_by_text("tokensieve promote --version 1")).to_be_attached()
    expect(page.get_by_role("link", name="mails")).to_be_visible()  # the registered model
    expect(page.get_by_text("test/accuracy")).to_be_attached()

    files = f"{experiment}/runs/{run.split('?')[0]}/artifacts"
    page.goto(f"{files}/evaluation/classes.json")
    expect(page.get_by_role("columnheader", name="precision")).to_be_visible()

    with page.expect_response(
        lambda response: "get-artifact?path=evaluation%2Fconfusion.png" in response.url
    ) as found:
        page.goto(f"{files}/evaluation/confusion.png")
        page.reload()
    assert found.value.ok
    expect(page.get_by_text("evaluation/confusion.png").first).to_be_visible()
    page.close()
