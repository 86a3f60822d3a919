"""The command `doctor`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from tokensieve.cli.command import MAINTAIN, Answer, Command, add_project
from tokensieve.project import Layout


def doctor(options: argparse.Namespace, answer: Answer) -> int:
    """Check versions, servers, remotes, GPU, disk and settings. The exit status is 1 if something
    is wrong.
    """
    from tokensieve.cli.installation_checks import checks

    found = list(checks(Layout(Path(options.project).resolve())))
    if options.json:
        answer(json.dumps([asdict(check) for check in found], ensure_ascii=False))
    else:
        for check in found:
            remedy = f"; {check.remedy}" if check.remedy and not check.ok else ""
            answer(f"{'ok   ' if check.ok else 'WRONG'} {check.name:<13} {check.found}{remedy}")
    return int(not all(check.ok for check in found))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    parser.add_argument("--json", action="store_true", help="print the checks as one JSON list")


COMMANDS = (Command("doctor", MAINTAIN, doctor, _add_arguments),)
