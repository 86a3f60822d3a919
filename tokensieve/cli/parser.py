"""The parser of the command line, and its help.

The arguments of each command are next to the command itself: of `predict`, `serve` and others in
this folder, of the pipeline in `flows/commands.py`, of `promote`, `rollback` and
`history` in `flows/model_commands.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from tokensieve import __version__, packages
from tokensieve.cli import check, completion, doctor, evaluate, explain, export_triton, patch, predict, serve
from tokensieve.cli.command import DATA, MAINTAIN, PREDICT, PROMOTE, RUN, START, Command
from tokensieve.cli.output import JSON, TEXT
from tokensieve.errors import did_you_mean, excerpt

TOPICS = (START, DATA, RUN, PROMOTE, PREDICT, MAINTAIN)
GROUPS = {
    "data": "Add, list and restore versions of the raw data.",
    "patch": "Store a fine-tuned model as a small exact difference from its base model.",
}


# What others call a command.
SYNONYMS = {"train": "run", "retrain": "run"}


class Parser(argparse.ArgumentParser):
    """A parser that names similar words after a wrong one.

    Its help is coloured on a terminal, if rich-argparse is installed.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as `argparse` does. A wrong option is an error of its command, with its usage."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown and self.get_default("command"):
            flag = next((word for word in unknown if word.startswith("-")), "").partition("=")[0]
            hint = did_you_mean(flag, self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint and f'. {hint.rstrip()}'}")
        return options, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if not isinstance(action, argparse._SubParsersAction) or value in action.choices:
            super()._check_value(action, value)
            return
        hint = did_you_mean(value, [*action.choices, *SYNONYMS])
        for other, name in SYNONYMS.items():
            hint = hint.replace(f"'{other}'", f"'{name}'")
        self.error(f"{excerpt(value)} is not a command. {hint}List them with {self.prog} --help")

    def _get_formatter(self) -> argparse.HelpFormatter:
        plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR")  # https://no-color.org
        if self.formatter_class is argparse.HelpFormatter and not plain:
            try:
                from rich_argparse import RichHelpFormatter
            except ModuleNotFoundError:
                return super()._get_formatter()

            class Coloured(RichHelpFormatter):
                help_markup = text_markup = False  # brackets in the help are brackets

            return Coloured(prog=self.prog)
        return super()._get_formatter()


# The modules of flows that have commands.
PIPELINE = (
    "flows.commands",
    "flows.audit_commands",
    "flows.sweep_command",
    "flows.model_commands",
    "flows.monitor_commands",
    "flows.up.command",
)


def all_commands() -> list[Command]:
    """Return all commands, in the order of the help."""
    pipeline = [command for name in PIPELINE for command in packages.module(name).COMMANDS]
    found = [
        *predict.COMMANDS,
        *check.COMMANDS,
        *explain.COMMANDS,
        *evaluate.COMMANDS,
        *serve.COMMANDS,
        *pipeline,
        *export_triton.COMMANDS,
        *patch.COMMANDS,
        *doctor.COMMANDS,
        *completion.COMMANDS,
    ]
    return sorted(found, key=lambda command: TOPICS.index(command.topic))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser. The chosen `Command` is `command` in its result, if there is one."""
    parser = Parser(
        prog="tokensieve",
        usage="tokensieve [--help] [--version] COMMAND ...",
        description="Train, retrain, promote and serve small text classifiers.",
        epilog="tokensieve COMMAND --help describes a command.",
    )
    parser.add_argument("--version", action="version", version=f"tokensieve {__version__}")
    # The commands are listed under the headings instead.
    subparsers = parser.add_subparsers(prog="tokensieve", metavar="COMMAND", help=argparse.SUPPRESS)
    headings = {topic: parser.add_argument_group(topic) for topic in TOPICS}
    groups: dict[str, argparse._SubParsersAction[Parser]] = {}
    for command in all_commands():
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            parent = subparsers.add_parser(group, help=GROUPS[group], description=GROUPS[group])
            groups[group] = parent.add_subparsers(required=True, metavar="COMMAND")
            headings[command.topic]._group_actions.append(subparsers._choices_actions[-1])
        added = groups.get(group, subparsers).add_parser(name, help=command.help, description=command.help)
        if not group:
            headings[command.topic]._group_actions.append(subparsers._choices_actions[-1])
        added.set_defaults(command=command, set=[])
        command.add_arguments(added)
        _add_output(added)
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Add what every command has."""
    about = "print warnings, errors and the answer only, without progress"
    parser.add_argument("--quiet", action="store_true", help=about)
    about = "format of what goes to standard error; json: one object per line with time, level and message"
    parser.add_argument("--log-format", choices=(TEXT, JSON), default=TEXT, help=about)
    parser.add_argument("--debug", action="store_true", help="show stack traces and the log of Prefect")
