"""The command `completion`: print a completion script for a shell."""

from __future__ import annotations

import argparse

from tokensieve.cli.command import MAINTAIN, Answer, Command

SHELLS = ("bash", "zsh", "fish")
FOLDERS = ("DIR", "DIR_OR_URI")
FILES = ("FILE", "PATH")


def completion(options: argparse.Namespace, answer: Answer) -> None:
    """Print a script that completes commands and options in a shell.

    For bash: tokensieve completion bash >> ~/.bash_completion
    """
    import shtab

    from tokensieve.cli.parser import build_parser

    parser = build_parser()
    _complete_paths(parser)
    answer(shtab.complete(parser, shell=options.shell))


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Complete the arguments that are files or folders, in all commands."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            action.help = None  # shtab leaves out what the help leaves out
            for child in action.choices.values():
                _complete_paths(child)
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


COMMANDS = (Command("completion", MAINTAIN, completion, _add_arguments, extra="pipeline"),)
