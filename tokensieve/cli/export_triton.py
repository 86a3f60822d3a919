"""The command `export-triton`: write a Triton model repository."""

from __future__ import annotations

import argparse
from pathlib import Path

from tokensieve.cli.command import PREDICT, Answer, Command, add_project
from tokensieve.cli.model_option import add_model, find_model


def export_triton(options: argparse.Namespace, answer: Answer) -> None:
    """Add an exported model to a Triton model repository, as its next version."""
    from tokensieve.export.triton import write_repository

    output = Path(options.output)
    version = 1 + max((int(path.name) for path in (output / options.name).glob("[0-9]*")), default=0)
    folder = write_repository(find_model(options), output, options.name, version)
    answer(f"{folder} contains version {version}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    add_model(parser)
    parser.add_argument("--output", required=True, metavar="DIR", help="the model repository")
    parser.add_argument(
        "--name",
        default="classifier",
        metavar="NAME",
        help="name of the model in the repository (default: classifier)",
    )


COMMANDS = (Command("export-triton", PREDICT, export_triton, _add_arguments),)
