"""Evaluate: measure a registered model on new labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from tokensieve.data.text_hashes import NAME, load_hashes
from tokensieve.evaluation.labelled_data import CLASSES, class_rows, evaluate_file, figure_rows
from tokensieve.inference.predictor import Predictor
from tokensieve.project import Layout
from tokensieve.registry.models import fetch_version
from tokensieve.registry.project_identity import identity
from tokensieve.report.markdown import inline, table
from tokensieve.settings import Settings


@flow(name="evaluate", persist_result=False)
def evaluate(project: Path, data: Path, model: str | None = None, oos: Path | None = None) -> dict[str, Any]:
    """Return the figures of a registered model on the labelled texts in the file `data`.

    Args:
        project: The project's folder. Its settings name the columns and the registry.
        data: A file with texts and labels.
        model: models:/NAME@ALIAS or models:/NAME/VERSION, by default the project's champion.
        oos: A file with texts that belong to no class.
    """
    layout = Layout(project.resolve())
    settings = Settings.load(layout.params)
    address = model or f"models:/{identity(layout, settings).model}@champion"
    folder = fetch_version(address, layout.root)
    result = evaluate_file(Predictor.load(folder), data, settings.data, oos, load_hashes(folder / NAME))
    page = [f"# {inline(address)} on {inline(data.name)}", table(("figure", "value"), figure_rows(result))]
    page += ["## Labels", table(CLASSES, class_rows(result))]
    create_markdown_artifact(key="evaluation", markdown="\n\n".join(page) + "\n")
    return result
