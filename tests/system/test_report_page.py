"""The report of a run and the Data Docs in Debian's Chromium: widths, colour schemes, paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tasks.data_docs import data_docs
from tasks.expectations import Table
from tests.system.chromium import SCHEMES, TIMEOUT, WIDTHS, found_by_axe, overflow
from tests.tasks.test_data_docs import check
from tests.tokensieve.report.whole_report import whole_report
from tokensieve.data.examples import Examples
from tokensieve.report.content import Report
from tokensieve.report.page import render_page

HOSTILE = "<script>document.title='label'</script> \u202ereversed\u202c مرحبا 💔 &amp; {{7*7}}"

Open = Callable[..., Page]


@pytest.fixture
def open_report(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open a report. At the end, the page may not have logged or requested anything."""
    problems: list[str] = []
    contexts = []

    def begin(report: Report | str, width: int = 1600, scheme: str = "light") -> Page:
        path = tmp_path / "report.html"
        path.write_text(report if isinstance(report, str) else render_page(report), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url == path.as_uri() or problems.append(request.url))
        page.goto(path.as_uri())
        return page

    yield begin
    for context in contexts:
        context.close()
    assert problems == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_the_window_and_axe_finds_nothing(open_report: Open, width: int, scheme: str) -> None:
    page = open_report(whole_report(), width, scheme)
    assert overflow(page) == 0
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert overflow(page) == 0
    assert found_by_axe(page) == []


def test_long_and_hostile_labels_stay_text_within_the_window(open_report: Open) -> None:
    page = open_report(whole_report(label=HOSTILE, text="w" * 20_000), WIDTHS[0])
    assert page.title().startswith(HOSTILE[:20])
    assert overflow(page) == 0
    assert page.locator("bdi", has_text="<script>").count() > 9


def test_paper_shows_the_texts_of_closed_parts_and_no_navigation(open_report: Open, tmp_path: Path) -> None:
    page = open_report(whole_report())
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    closed = page.locator("details:not([open]) li").first
    assert closed.bounding_box() is not None
    assert len(page.pdf()) > 10_000


@pytest.mark.parametrize(("width", "scheme"), [(WIDTHS[0], SCHEMES[1]), (WIDTHS[1], SCHEMES[0])])
def test_the_data_docs_fit_the_window_and_axe_finds_nothing(
    open_report: Open, width: int, scheme: str
) -> None:
    examples = Examples.of(["a", "b", "c"], ["card", HOSTILE, "x" * 300])
    table = Table("train", "train", "mails.csv", examples, lengths=[3, 90, 400])
    rows = [{"row": 1, "line": 2, "id": HOSTILE, "text": "a", "label": HOSTILE}]
    failed = check("leak", passed=False) | {"rows": rows}
    page = open_report(data_docs(HOSTILE, [failed, check("empty")], [(table, [])], 64), width, scheme)
    assert page.title().startswith(HOSTILE[:20])
    assert page.locator("svg").count() > 0
    assert overflow(page) == 0
    assert found_by_axe(page) == []
