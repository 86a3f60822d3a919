"""Write the generated parts of the documentation from the code: settings, commands, HTTP interface
and metrics.

A page contains the line `<!-- generated: NAME -->`. Sphinx replaces it with the Markdown that the
function of that name in `PARTS` returns. Nothing generated is stored, so it cannot be out of date.
What is between `<!-- in a checkout -->` and `<!-- end -->` is for readers of the Markdown, and is
left out.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from sphinx.application import Sphinx

MARK = re.compile(r"<!-- generated: ([\w-]+) -->")
IN_A_CHECKOUT = re.compile(r"<!-- in a checkout -->.*?<!-- end -->\n", re.DOTALL)


def settings() -> str:
    """Return one table per section of `params.yaml`: key, default, what it does and which values it
    allows.
    """
    from tokensieve.settings import render, sections

    lines: list[str] = []
    for line in render().splitlines():
        if found := re.fullmatch(r"(\w+):", line):
            name = found[1]
            about = inspect.getdoc(sections()[name]) or ""
            lines += ["", f"## {name}", "", about, "", "| setting | default | meaning |", "|---|---|---|"]
        elif found := re.fullmatch(r"  (\w+): (.+?)  # (.+)", line):
            lines.append(f"| `{name}.{found[1]}` | `{found[2]}` | {_cell(found[3])} |")
    return "\n".join(lines)


def commands() -> str:
    """Return one section per command of `tokensieve`: what it does, its usage and its options."""
    return "\n".join(_command(name, parser) for name, parser in all_parsers())


def all_parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command that has options of its own, by its full name, in the order of the
    help.
    """
    from tokensieve.cli import main

    yield from _leaves("tokensieve", main.build_parser())


def _leaves(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        shown = {choice.dest for choice in group._choices_actions}
        for command, child in group.choices.items():
            if command in shown:
                yield from _leaves(f"{name} {command}", child)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = functools.partial(argparse.HelpFormatter, width=88)  # type: ignore[assignment]
    usage = parser.format_usage().removeprefix("usage: ").replace("\n       ", "\n").rstrip()
    rows = [
        f"| {_flags(action)} | {_cell(_help(parser, action))} |"
        for action in parser._actions
        if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]
    table = ["| argument | meaning |", "|---|---|", *rows] if rows else []
    about = _cell(parser.description or "")
    return "\n".join(["", f"## {name}", "", about, "", "```text", usage, "```", "", *table])


def _flags(action: argparse.Action) -> str:
    metavar = action.metavar or action.dest.upper()
    shown = " ".join(metavar) if isinstance(metavar, tuple) else metavar
    if not action.option_strings:
        return f"`{shown}`"
    value = "" if action.nargs == 0 else f" {shown}"
    return ", ".join(f"`{flag}{value}`" for flag in action.option_strings)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def http() -> str:
    """Return one section per path of the server: what it does, its request body and its
    responses.
    """
    description = openapi()
    lines: list[str] = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            lines += ["", f"## {method.upper()} {path}", "", _text(operation.get("description", "")), ""]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if body:
                lines += ["Request body:", "", *_fields(_resolved(body["schema"], description)), ""]
            lines += ["| status | meaning | body |", "|---|---|---|"]
            for status, response in operation["responses"].items():
                names = ", ".join(f"[{name}](#{name.lower()})" for name in _names(response))
                lines.append(f"| {status} | {_cell(response.get('description', ''))} | {names} |")
    lines += ["", "## Objects"]
    for name, schema in description["components"]["schemas"].items():
        if "properties" in schema:
            lines += ["", f"({name.lower()})=", f"### {name}", ""]
            lines += [_text(schema.get("description", "")), "", *_fields(schema)]
    return "\n".join(lines)


def openapi() -> dict[str, Any]:
    """Return the server's OpenAPI document, as GET /openapi.json responds with it."""
    from tokensieve.server.openapi import openapi_document

    return openapi_document()


def metrics() -> str:
    """Return a table of the Prometheus metrics that GET /metrics responds with."""
    from tokensieve.server.prometheus import Metrics, ShadowMetrics

    registry = Metrics().registry
    ShadowMetrics(registry)
    rows = []
    for family in registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.append(f"| `{name}` | {family.type} | {_cell(family.documentation)} |")
    return "\n".join(["| metric | type | meaning |", "|---|---|---|", *rows])


def _resolved(schema: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return description["components"]["schemas"][reference.rsplit("/", 1)[1]] if reference else schema


def _fields(schema: dict[str, Any]) -> list[str]:
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in schema.get("properties", {}).items():
        rows.append(f"| `{name}` | {_type(field)} | {_cell(field.get('description', ''))} |")
    return rows


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"object of {_type(field['additionalProperties'])}"
    return str(field.get("type", "any"))


def _names(response: dict[str, Any]) -> list[str]:
    return sorted(set(re.findall(r"#/components/schemas/(\w+)", json.dumps(response.get("content", {})))))


def _cell(text: str) -> str:
    """Return `text` on one line, with the characters escaped that would end a table's cell or open
    markup.
    """
    return re.sub(r"([|<*_\[\]])", r"\\\1", " ".join(text.split()))


def _text(text: str) -> str:
    return re.sub(r"([<*_])", r"\\\1", text)


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "http": http,
    "metrics": metrics,
}


def fill(_: Sphinx, __: str, source: list[str]) -> None:
    """Replace each `<!-- generated: NAME -->` of a page, which Sphinx passes as a list of one
    text, and leave out what is for readers of the Markdown.
    """
    source[0] = MARK.sub(lambda found: PARTS[found[1]](), IN_A_CHECKOUT.sub("", source[0]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
