"""The commands that watch a model in use. Each one imports what it needs when it runs."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from tokensieve.cli.command import MAINTAIN, Answer, Command, add_json, add_project, existing_project


def drift(options: argparse.Namespace, answer: Answer) -> int:
    """Compare the texts that the server answered with those that the champion was tested on.

    The exit status is 1 if the last two windows differ.
    """
    from flows.drift_text import drift_text
    from tasks.monitoring.drift import look_for_drift
    from tokensieve.settings import Settings

    layout = existing_project(options)
    report = look_for_drift(layout, Settings.load(layout.params), Path(options.log), options.texts)
    answer(json.dumps(asdict(report), ensure_ascii=False) if options.json else drift_text(report, words=True))
    return int(report.alarm)


def _drift_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    about = "file that `tokensieve serve --log-texts` writes"
    parser.add_argument("--log", required=True, metavar="FILE", help=about)
    about = "least number of texts since the last look; fewer wait for the next (default: 200)"
    parser.add_argument("--texts", type=int, default=200, metavar="N", help=about)
    add_json(parser)


COMMANDS = (Command("drift", MAINTAIN, drift, _drift_arguments, extra="pipeline"),)
