"""The summary of a run in Markdown, for the page of the run in Prefect."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flows.summary import figures, verdict_text
from tasks.promotion.gate_report import HEAD, GateReport, cells
from tasks.reporting.shown import BUILDS, builds, notes
from tokensieve.project import Layout
from tokensieve.report.markdown import inline, table


def summary_markdown(result: dict[str, Any], layout: Layout, registry: str) -> str:
    """Return the figures, the warnings, the exported builds and the places of the artifacts.

    `registry` is the address of MLflow. If it is a server, the page links to the run and the
    model version.
    """
    name, version = result["model_name"], result["model_version"]
    parts = [f"# {inline(name)} version {version}"]
    if verdict := result.get("verdict"):
        parts.append(inline(verdict_text(verdict)))
    parts += [_pages(result, registry), "## Figures", table(("figure", "value"), figures(result))]
    if result["warnings"]:
        parts += ["## Warnings", "\n".join(f"- {inline(warning)}" for warning in result["warnings"])]
    if result.get("audit"):
        parts += ["## Audit of the data", "\n".join(f"- {inline(line)}" for line in result["audit"])]
    if report := GateReport.of(result.get("gate")):
        parts += ["## Gate", inline(report.headline()), table(HEAD, cells(report))]
    parts += [
        "## Exported builds",
        table(BUILDS, builds(result["race"], result["variant"])),
        "\n".join(
            f"- {inline(note)}"
            for note in notes(result["race"], result["parity"]["texts"], result["rows"]["test"])
        ),
        "## Artifacts",
        _places(result, layout),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def picture(result: dict[str, Any]) -> tuple[str, str]:
    """Return what the picture of the test texts shows, and the name of its file."""
    return ("confusions", "confusion.png") if "test_accuracy" in result else ("each label", "labels.png")


def _pages(result: dict[str, Any], registry: str) -> str:
    """Return links to the run and the version in MLflow. Empty if `registry` is not a server."""
    if not registry.startswith("http"):
        return ""
    name, version = result["model_name"], result["model_version"]
    address = f"{registry.rstrip('/')}/#/models/{quote(name)}/versions/{version}"
    links = [f"- [the version in MLflow]({address})"]
    if page := result.get("run_page"):
        links.insert(0, f"- [the run in MLflow]({page}): its data, figures per class, pictures, report")
    return "\n".join(links)


def _places(result: dict[str, Any], layout: Layout) -> str:
    about, file = picture(result)
    command = f"tokensieve promote --project {layout.root} --version {result['model_version']}"
    lines = [
        f"- report of the run: {_code(layout.report)}; without texts: `report.html` in the run in MLflow",
        f"- exported model: {_code(layout.onnx)}",
        f"- checks of the data: {_code(layout.validation / 'docs' / 'index.html')}",
        f"- trained weights: {_code(layout.mask / 'mask.png')}",
        f"- {about}: {_code(layout.evaluation / file)}",
        f"- make it the champion: {_code(command)}",
    ]
    return "\n".join(lines)


def _code(text: object) -> str:
    return f"`{str(text).replace('`', '')}`"
