"""A run as a person finds it in Prefect's pages: in the list of the runs, and from its own page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.system.chromium import TIMEOUT
from tests.system.conftest import Process


@pytest.mark.timeout(600)
def test_a_newcomer_finds_run_verdict_figures_and_picture(
    start_prefect: Callable[..., Process],
    tokensieve: Callable[..., Any],
    small: list[str],
    data_file: Path,
    browser: Browser,
) -> None:
    server = start_prefect().url.removesuffix("/api/health")
    done = tokensieve("run", "--project", "mails", "--data", str(data_file), "--json", *small)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    name = f"mails: v1 {data_file.name} {result['test_accuracy']:.3f}"
    page = browser.new_page(viewport={"width": 1400, "height": 1200})
    page.set_default_timeout(TIMEOUT)
    # Nothing outside this machine is needed.
    page.route(lambda url: "127.0.0.1" not in url, lambda route: route.abort())

    page.goto(server)
    page.get_by_role("link", name="Runs", exact=True).first.click()
    page.get_by_role("link", name=f"retrain {name}").click()
    expect(page.get_by_text("Completed").first).to_be_visible()
    page.get_by_role("tab", name="Details").click()
    expect(page.get_by_text(result["verdict"]["sentence"][1:])).to_be_visible()
    expect(page.get_by_text("mails", exact=True).first).to_be_visible()  # the tag

    artifact(page, "retrain-summary", name)
    expect(page.get_by_role("heading", name="mails version 1")).to_be_visible()
    expect(page.get_by_role("cell", name="weakest classes")).to_be_visible()
    expect(page.get_by_text(str(result["report"]))).to_be_attached()
    page.go_back()

    artifact(page, "retrain-picture", f"{name}: confusions")
    picture = page.locator("img[src^='data:image/png']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    page.close()


def artifact(page: Page, key: str, about: str) -> None:
    """Open an artifact from the page of its run."""
    page.get_by_role("tab", name="Artifacts").click()
    expect(page.get_by_text(about, exact=True)).to_be_visible()
    page.get_by_role("link", name=re.compile(key)).click()
