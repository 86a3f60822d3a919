"""What people find of a finished retrain in Prefect: its name and tag, its summary, its picture."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from flows.run_page import picture, summary_markdown
from flows.summary import verdict_text
from tasks.tracking.run_words import run_name
from tasks.versioning.data_versions import find_data_version
from tokensieve.project import Layout

log = logging.getLogger("tokensieve")

MAX_PICTURE = 500_000  # bytes; Prefect stores it in its database


def show_run(result: dict[str, Any], layout: Layout, registry: str, is_new: bool) -> None:
    """Name the run of the flow, and make its artifacts: the summary and a picture.

    The run has registered its model by then, so a page that cannot be written is a warning.

    Args:
        result: The summary of the run.
        layout: The project.
        registry: The address of MLflow.
        is_new: Whether the run made something new.
    """
    name = _name(result, layout, is_new)
    summary = summary_markdown(result, layout, registry)
    about, file = picture(result)
    address = _data_url(layout.evaluation / file) if is_new else ""
    try:
        if flow_run.id:
            with get_client(sync_client=True) as client:
                tags = sorted({*flow_run.tags, result["model_name"]})
                client.update_flow_run(flow_run.id, name=f"retrain {name}", tags=tags)
        create_markdown_artifact(key="retrain-summary", markdown=summary, description=name)
        if address:
            create_image_artifact(key="retrain-picture", image_url=address, description=f"{name}: {about}")
    except Exception as error:  # Prefect's, or its network library's: they share no narrower base
        log.warning("warning: the page of the run in Prefect is incomplete (%s)", error)


def final_message(result: dict[str, Any], is_new: bool) -> str:
    """Return the message of the final state: whether a version is new, and whether it is good."""
    version, model = result["model_version"], result["model_name"]
    if not is_new:
        return f"Nothing new: version {version} of {model} is current."
    champion = ", now the champion" if result.get("promoted") else ""
    verdict = f": {verdict_text(result['verdict'])}" if result.get("verdict") else ""
    return f"Version {version} of {model}{champion}{verdict}"


def _name(result: dict[str, Any], layout: Layout, is_new: bool) -> str:
    """Return model, version, data and accuracy, as "mails: v3 mails.csv 0.912"."""
    data = find_data_version(layout, result["data_hash"])
    unchanged = "" if is_new else "unchanged, "
    return f"{result['model_name']}: {unchanged}{run_name(result['model_version'], data, result)}"


def _data_url(path: Path) -> str:
    """Return a PNG as an address that needs no server. Empty if it is missing or too large."""
    if not path.exists() or path.stat().st_size > MAX_PICTURE:
        return ""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
