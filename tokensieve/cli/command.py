"""The class of a command, and the options that several commands have."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokensieve.errors import InputError
from tokensieve.project import Layout

Answer = Callable[[str], None]

# The headings of the help, in the order in which a user needs them.
START, DATA, RUN, PROMOTE, PREDICT, MAINTAIN = (
    "start",
    "data",
    "run",
    "promote",
    "predict and serve",
    "look after",
)


@dataclass(frozen=True)
class Command:
    """A command: its name, the heading it is listed under, its function and its arguments.

    A name of two words, such as "data add", is a command of a group. `run` gets the options and a
    function that prints to standard output. It returns the exit status, or None for 0. Its
    docstring is the help.
    """

    name: str
    topic: str
    run: Callable[[argparse.Namespace, Answer], int | None]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    extra: str = ""  # the extra of the package that the command needs
    handles_signals: bool = False

    @property
    def help(self) -> str:
        """The first paragraph of the function's docstring."""
        return " ".join((inspect.getdoc(self.run) or "").split("\n\n")[0].split())


def add_project(parser: argparse.ArgumentParser, created: bool = False) -> None:
    """Add the option --project. With `created`, the command creates the project if necessary."""
    about = "project folder (default: the current folder)"
    about += "; created if it does not exist" if created else ""
    parser.add_argument("--project", default=".", metavar="DIR", help=about)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option --json of a command that prints one JSON object."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def existing_project(options: argparse.Namespace) -> Layout:
    """Return the layout of the project that the options name.

    Raises:
        InputError: If the folder is not a project.
    """
    layout = Layout(Path(options.project).resolve())
    if not layout.params.exists():
        raise InputError(
            f"{layout.root} is not a project (it has no {layout.params.name}). Name the folder of a project "
            "with --project DIR, or create a project with: tokensieve init DIR"
        )
    return layout
