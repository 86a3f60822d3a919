"""The commands to go on after a run: those of its summary on the command line and of its report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from tokensieve.project import Layout
from tokensieve.report.content import Fact

DATABASE = "mlflow.db"


def next_steps(
    layout: Layout, version: str, promote: bool, label_errors: int, folder: Path | None = None
) -> Iterator[Fact]:
    """Yield the commands to go on. The note of a command is what to do before it.

    Args:
        layout: The project.
        version: The version that the run registered.
        promote: Whether to promote it.
        label_errors: The number of labels that are likely wrong.
        folder: The working directory, for shorter paths. None: the commands work in any.
    """
    model, project = quoted(layout.onnx, folder), project_option(layout, folder)
    yield Fact("try it", f'tokensieve predict --model {model} "your text"')
    yield Fact("serve it", f"tokensieve serve --model {model}")
    if promote:
        yield Fact("promote it", f"tokensieve promote{project} --version {version}")
    if label_errors:
        review = quoted(layout.review, folder)
        add = f"tokensieve data add{project} --review {review}"
        yield Fact("correct it", add, f"fill in right_label in {review}")


def see_run(layout: Layout, folder: Path | None = None) -> str:
    """Return the command that shows a local MLflow database. Empty: the project has none."""
    database = layout.at(DATABASE)
    address = shlex.quote(f"sqlite:///{shown(database, folder)}")
    return f"mlflow ui --backend-store-uri {address}" if database.exists() else ""


def project_option(layout: Layout, folder: Path | None = None) -> str:
    """Return the option that names the project. Empty: the project is the working directory."""
    return "" if layout.root == folder else f" --project {shlex.quote(str(layout.root))}"


def quoted(path: Path, folder: Path | None) -> str:
    """Return a path as `shown` does, for a shell."""
    return shlex.quote(shown(path, folder))


def shown(path: Path, folder: Path | None) -> str:
    """Return a path, relative to `folder` if it is inside."""
    return str(path.relative_to(folder)) if folder and path.is_relative_to(folder) else str(path)
