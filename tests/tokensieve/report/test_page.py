from __future__ import annotations

import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from tests.tokensieve.report.whole_report import whole_report
from tokensieve.report.content import ClassRow, Fact, Report
from tokensieve.report.page import render_page

VOID = {"meta", "wbr", "br", "rect", "line", "polyline", "circle", "img", "link", "input", "hr"}
LARGEST = 2_000_000  # bytes of a page


class Page(HTMLParser):
    """Checks that each element is closed in its turn, and keeps tags, addresses and texts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has {name}"
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_doubted_label_of_a_mistake_is_marked() -> None:
    page = Page(render_page(whole_report(classes=3)))
    assert page.text.count("the label may be wrong: the audit suggests customs hold") == 3


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    html = render_page(whole_report())
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    outside = [address for address in page.addresses if not address.startswith("#")]
    assert outside == ["https://mlflow.example/#/models/freight/versions/3"]
    assert not page.tags & {"script", "img", "link", "iframe", "object", "embed", "form"}
    assert "url(" not in html
    assert "@import" not in html
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert len(html.encode()) < 100_000


def test_the_verdict_is_first() -> None:
    text = Page(render_page(whole_report())).text
    verdict, comparison = text.index("Answers by itself"), text.index("most frequent class")
    assert text.index("customs hold version 3") < verdict < comparison < text.index("data hash")
    assert "Promote customs hold." in text


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</style></svg><script>",
        "{{ 7 * 7 }} {% raw %}",
        "&lt;b&gt; & < >",
        "\u202eشحنة\u202c متأخرة 📦🚢",
        "]]> --> <!--",
    ],
)
def test_labels_and_texts_are_shown_as_they_are(hostile: str) -> None:
    page = Page(render_page(whole_report(label=hostile, text=hostile)))
    assert "script" not in page.tags
    assert not any("alert" in address for address in page.addresses)
    assert page.text.count(hostile) > 40


def test_characters_that_html_forbids_are_replaced() -> None:
    html = render_page(whole_report(text="nul \x00, bell \x07 and half \ud83d pair"))
    assert "nul \ufffd, bell \ufffd and half \ufffd pair" in html
    assert html.encode("utf-8")


def test_long_labels_and_texts_are_cut() -> None:
    report = whole_report(label="l" * 20_000, text="t" * 20_000)
    plain = replace(report, advice=None, champion="", gate=None, warnings=(), changed_settings=None)
    confusion = render_page(Report("m", "now", False, classes=plain.classes, confusions=plain.confusions))
    assert "l" * 81 not in confusion
    assert "t" * 401 not in confusion
    assert "… (20,000 characters)" in confusion


def test_a_page_of_150_classes_and_thousands_of_texts_is_small() -> None:
    report = whole_report(label="a label of usual length", text="word " * 300, classes=150)
    html = render_page(replace(report, matrix=None))
    assert len(html.encode()) < LARGEST / 2
    Page(html)


def test_a_page_of_a_thousand_classes_with_texts_of_20_000_characters_is_below_2_mb() -> None:
    report = whole_report(label="😀" * 200, text="書" * 20_000, classes=1000)
    html = render_page(replace(report, matrix=None))
    assert len(html.encode()) < LARGEST


PARTS = [field.name for field in fields(Report) if field.name not in ("title", "made", "multi_label")]


@pytest.mark.parametrize("name", PARTS)
def test_a_missing_part_is_left_out(name: str) -> None:
    empty = getattr(Report("m", "now", False), name)
    page = Page(render_page(replace(whole_report(), **{name: empty})))
    assert "None" not in page.text


def test_a_report_with_nothing_is_a_page() -> None:
    page = Page(render_page(Report("m", "now", True)))
    assert page.addresses == []


def test_without_texts_those_of_mistakes_and_audit_are_not_shown() -> None:
    report = Report(
        "m",
        "now",
        False,
        confusions=whole_report(text="private words").confusions,
        audit=whole_report().audit,
    )
    assert "private words" in render_page(report)
    hidden = render_page(report.without_texts())
    assert "private words" not in hidden
    assert "Label errors" in hidden
    assert "The texts are in the report on the disk of the project." in hidden


def test_a_link_is_an_address_of_the_users_own_server_only() -> None:
    html = render_page(Report("m", "now", False, lineage=(Fact("run", 'a"b', link='https://x/"onclick=1'),)))
    assert Page(html).addresses == ["#lineage", 'https://x/"onclick=1']


def test_numbers_in_charts_are_finite_and_inside() -> None:
    for width, points in re.findall(
        r'viewBox="0 0 (\d+) \d+".*?points="([^"]*)"', render_page(whole_report())
    ):
        places = [float(pair.split(",")[0]) for pair in points.split()]
        assert all(0 <= place <= float(width) for place in places)


@pytest.mark.parametrize(("texts", "note"), [(0, "not tested"), (1, "tested on 1 text"), (2, "")])
def test_a_class_with_one_test_text_is_marked(texts: int, note: str) -> None:
    rows = (ClassRow("few", 3, texts, 0.0, 0.0, 0.0),)
    page = Page(render_page(replace(whole_report(), classes=rows)))
    assert page.text.count("tested on 1 text") == (texts == 1)
    assert page.text.count("not tested") == (texts == 0)
    assert note in page.text
