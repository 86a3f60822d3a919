"""The reference is complete, and what is generated is current."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields

import pytest

import tokensieve
from tests.docs.pages import HISTORY, PAGES, ROOT, module
from tokensieve.settings import Settings, sections

reference = module("_ext/reference.py")
KEYS = {f"{name}.{spec.name}" for name, kind in sections().items() for spec in fields(kind)}


def test_every_setting_is_in_the_reference_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `.+?` \| (.+) \|$", reference.settings(), re.MULTILINE))
    assert rows.keys() == KEYS
    assert all(rows.values())


def test_every_command_and_option_has_help() -> None:
    without = [
        f"{name} {action.dest}"
        for name, parser in reference.all_parsers()
        for action in parser._actions
        if not action.help
    ]
    assert not without
    assert all(parser.description for _, parser in reference.all_parsers())


def test_every_command_and_option_is_in_the_reference() -> None:
    text = reference.commands()
    for name, parser in reference.all_parsers():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for action in parser._actions:
            if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
                shown = action.option_strings or [action.metavar or action.dest.upper()]
                assert all(f"`{flag}" in section for flag in shown), (name, action.dest)


def test_every_path_and_object_of_the_server_is_in_the_reference() -> None:
    text, description = reference.http(), reference.openapi()
    for path, methods in description["paths"].items():
        for method in methods:
            assert f"\n## {method.upper()} {path}\n" in text
    for name, schema in description["components"]["schemas"].items():
        for field in schema.get("properties", {}):
            assert f"`{field}`" in text.partition(f"\n### {name}\n")[2].partition("\n###")[0]


def test_every_name_of_the_python_api_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    assert all(f":: tokensieve.{name}" in page for name in tokensieve.__all__ if name != "__version__")


@pytest.mark.parametrize("name", ["settings", "cli", "http", "python"])
def test_in_a_checkout_a_page_names_where_its_generated_part_is(name: str) -> None:
    page = (ROOT / f"docs/reference/{name}.md").read_text(encoding="utf-8")
    assert "`make docs` writes" in page
    source = [page]
    reference.fill(None, name, source)
    assert "make docs" not in source[0]
    assert "<!--" not in source[0]


def test_metrics_are_in_the_reference() -> None:
    assert "tokensieve_request_seconds" in reference.metrics()


def test_the_charts_of_the_readme_are_current() -> None:
    for name, text in module("pictures.py").charts().items():
        stored = (ROOT / "docs/_static" / name).read_text(encoding="utf-8")
        assert stored == text, f"run python docs/pictures.py: {name} is out of date"


def test_a_method_without_a_cost_is_not_in_the_chart() -> None:
    costly = {"method": "end_to_end", "cost": "1.00", "mean": "85.90"}
    chart = module("pictures.py").cost_chart([costly, {"method": "road", "cost": "–", "mean": "85.75"}])
    assert "full fine-tuning 85.90" in chart
    assert "road" not in chart


WRITTEN = pytest.mark.parametrize(
    "text",
    [
        pytest.param(page.read_text(encoding="utf-8"), id=page.relative_to(ROOT).as_posix())
        for page in PAGES
        if page not in HISTORY
    ],
)


@WRITTEN
def test_settings_that_a_page_names_exist(text: str) -> None:
    names = "|".join(sections())
    found = set(re.findall(rf"(?<![\w./-])((?:{names})\.[a-z_]+)(?=[=`\s'])", text))
    assert not {key for key in found - KEYS if key.rpartition(".")[2] not in ("py", "md", "csv")}


@WRITTEN
def test_commands_that_a_page_names_exist(text: str) -> None:
    known = {name for name, _ in reference.all_parsers()}
    known |= {name.rpartition(" ")[0] for name in known}
    fences = "".join(re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL))
    in_code = re.findall(r"(?:^|^\$ |&& )tokensieve ([a-z][a-z -]*[a-z])", fences, re.MULTILINE)
    in_code += re.findall(r"`tokensieve ([a-z][a-z -]*[a-z])", text)
    for words in (command.split() for command in in_code):
        assert {f"tokensieve {' '.join(words[:size])}" for size in (1, 2)} & known, words


def test_defaults_that_pages_name_are_true() -> None:
    settings = Settings()
    assert settings.mask.budget == 0.1
    assert settings.evaluate.coverage == 0.95
