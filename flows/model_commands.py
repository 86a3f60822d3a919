"""The commands for registered models and their arguments: promote and rollback.

`tokensieve/cli/parser.py` collects them. Each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import json

from tokensieve.cli.command import PROMOTE, Answer, Command, add_json, add_project, existing_project


def promote(options: argparse.Namespace, answer: Answer) -> None:
    """Make a registered version the champion: the challenger, or the one that --version names."""
    from flows.champion_text import promoted_text
    from flows.notifications import promoted
    from tasks.promotion import promote as promotions
    from tokensieve.settings import Settings

    layout = existing_project(options)
    moved = promotions.promote(
        layout, Settings.load(layout.params), options.version, options.reason, options.other_project
    )
    promoted(layout, moved, "promote", options.reason)
    answer(json.dumps(moved, ensure_ascii=False) if options.json else promoted_text(moved, options.project))


def rollback(options: argparse.Namespace, answer: Answer) -> None:
    """Make the previous champion that still exists the champion again."""
    from flows.champion_text import rolled_back_text
    from flows.notifications import promoted
    from tasks.promotion import promote as promotions
    from tokensieve.settings import Settings

    layout = existing_project(options)
    moved = promotions.rollback(layout, Settings.load(layout.params))
    promoted(layout, moved, "rollback")
    answer(
        json.dumps(moved, ensure_ascii=False) if options.json else rolled_back_text(moved, options.project)
    )


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    add_json(parser)


def _promote_arguments(parser: argparse.ArgumentParser) -> None:
    _rollback_arguments(parser)
    parser.add_argument("--version", metavar="N", help="registered version (default: the challenger)")
    about = "why; required, with --version, to promote a version that was rolled back"
    parser.add_argument("--reason", metavar="TEXT", help=about)
    about = "promote the version even if another project registered it"
    parser.add_argument("--other-project", action="store_true", help=about)


COMMANDS = (
    Command("promote", PROMOTE, promote, _promote_arguments, extra="pipeline"),
    Command("rollback", PROMOTE, rollback, _rollback_arguments, extra="pipeline"),
)
