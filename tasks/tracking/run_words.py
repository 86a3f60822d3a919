"""The name and the description of a run in MLflow, for people who look for it there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from tasks.versioning.data_versions import DataVersion
from tokensieve.evaluation.weak_class import WeakClass
from tokensieve.report.markdown import inline, table

# The files of a run that people look for, with what they are.
FILES = {
    "report.html": "the report of the run, without the texts",
    "evaluation/classes.json": "precision, recall and F1 of each class, the lowest F1 first",
    "evaluation/confusion.png": "which classes are taken for which",
    "evaluation/labels.png": "F1 of each label",
    "evaluation/calibration.png": "whether the probabilities are right",
    "training/history.png": "the losses per epoch",
    "mask/mask.png": "the weights that were trained",
    "validation/docs/index.html": "the checks of the data",
}


def run_name(version: str, data: DataVersion | None, figures: dict[str, Any]) -> str:
    """Return the name of a run: its version, its data and its accuracy, as "v3 mails.csv 0.912".

    Args:
        version: The number of the registered version.
        data: The version of the data; None if unknown.
        figures: The test figures of the served build.
    """
    accuracy = figures.get("test_accuracy", figures.get("test_exact_match"))
    parts = [f"v{version}", data_name(data), "" if accuracy is None else f"{accuracy:.3f}"]
    return " ".join(filter(None, parts))


def data_name(data: DataVersion | None) -> str:
    """Return the name of the user's file or folder. Empty if unknown."""
    if data is None:
        return ""
    source = urlsplit(data.source).path if "://" in data.source else data.source
    name = PurePath(source).name
    # Data changed in place or by answers have data/raw or the file of answers as their source.
    return data.names.get("train", name) if name == "raw" or data.parent else name


def description(
    model: str, version: str, data: DataVersion | None, evaluated: dict[str, Any], files: set[str]
) -> str:
    """Return the description of a run in Markdown: the verdict, how to promote, data and files.

    Args:
        model: The name of the registered model.
        version: The number of its version.
        data: The version of the data; None if unknown.
        evaluated: The evaluation report, with the figures of the served build.
        files: The paths of the run's files.
    """
    return "\n\n".join(_paragraphs(model, version, data, evaluated, files)) + "\n"


def _paragraphs(
    model: str, version: str, data: DataVersion | None, evaluated: dict[str, Any], files: set[str]
) -> Iterator[str]:
    verdict = evaluated.get("verdict") or {}  # earlier evaluations have none
    if sentence := verdict.get("sentence"):
        yield f"**{inline(sentence[:1].upper() + sentence[1:])}**"
    begin = "Promote it" if verdict.get("promote", True) else "The verdict advises against it, but to promote"
    command = f"`tokensieve promote --version {version}`"
    yield f"{begin}: {command} in the project, then it is `models:/{model}@champion`."
    if rows := [*_figures(evaluated)]:
        yield table(("on the test texts", ""), rows)
    if weakest := [WeakClass(**row) for row in verdict.get("weakest", ())]:
        yield "Weakest classes: " + "; ".join(inline(str(weak)) for weak in weakest) + "."
    if data:
        counts = ", ".join(f"{name} {count:,}" for name, count in data.rows.items())
        source = data.source.replace("`", "")
        yield f"Data: `{source}` ({counts}), version `{data.data_hash}`, added {data.date[:10]}."
    if shown := [f"- `{path}`: {about}" for path, about in FILES.items() if path in files]:
        yield "Under Artifacts:\n\n" + "\n".join(shown)


def _figures(evaluated: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("test_accuracy", "test_exact_match", "test_macro_f1", "test_micro_f1"):
        if key in evaluated:
            low, high = evaluated.get(f"{key}_interval", (None, None))
            interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
            yield (
                key.removeprefix("test_").replace("_", " ").replace("f1", "F1"),
                f"{evaluated[key]:.4f}{interval}",
            )
    if tfidf := (evaluated.get("baselines") or {}).get("tfidf"):
        yield "accuracy of a linear SVM on TF-IDF", f"{tfidf['accuracy']:.4f}"
