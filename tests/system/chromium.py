"""Debian's Chromium, and what is asked of every page: it fits the window, and axe finds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
# No sandbox: tests may run as root. The rest keeps the browser from requests of its own.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT = 60_000  # milliseconds; a busy machine is no failure
WIDTHS, SCHEMES = (360, 1600), ("light", "dark")


def opened_browser() -> Iterator[Browser]:
    """Yield a browser, and close it in the end."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


def overflow(page: Page) -> int:
    """Return the pixels by which the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def found_by_axe(page: Page) -> list[str]:
    """Return what axe finds: the rule, its impact and the elements."""
    return [
        f"{found['id']} ({found['impact']}): {[node['target'] for node in found['nodes']]}"
        for found in Axe().run(page).response["violations"]
    ]
