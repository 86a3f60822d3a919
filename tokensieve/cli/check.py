"""The command `check`: run behaviour tests on an exported model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokensieve.cli.command import PREDICT, Answer, Command, add_project
from tokensieve.cli.model_option import add_model, find_model
from tokensieve.errors import InputError

if TYPE_CHECKING:
    from tokensieve.evaluation.behaviour import Cases, Outcome

FAILED = 1  # exit status if too few cases pass


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    about = "YAML file with the cases: plain sentences with their labels, texts to perturb, phrases to swap"
    parser.add_argument("--cases", required=True, metavar="FILE", help=about)
    add_model(parser)


def check(options: argparse.Namespace, answer: Answer) -> int:
    """Run behaviour tests on an exported model. The exit status is 1 if too few pass.

    Raises:
        InputError: If the cases file or the model cannot be read, or the model has several tasks.
    """
    from tokensieve.cpus import cores
    from tokensieve.evaluation.behaviour import check_labels, failed_kinds, read_cases, run_cases
    from tokensieve.inference.load import load
    from tokensieve.inference.prediction import SINGLE_TASK

    cases = read_cases(Path(options.cases))
    model = load(find_model(options), cores())
    if SINGLE_TASK not in model.tasks:
        raise InputError(
            f"the model has the tasks {', '.join(model.tasks)}; check the models of the tasks one by one"
        )
    check_labels(cases, model.tasks[SINGLE_TASK].labels)

    def predict(texts: Sequence[str]) -> list[tuple[str, ...]]:
        found = model.predict_by_task(texts)[SINGLE_TASK]
        return [tuple(sorted(label for label, _ in prediction.labels)) for prediction in found]

    outcomes = run_cases(cases.cases, predict)
    for line in report(cases, outcomes):
        answer(line)
    return FAILED if failed_kinds(cases, outcomes) else 0


def report(cases: Cases, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield one line per failed case, and then a table of the kinds of cases."""
    from tokensieve.evaluation.behaviour import failed_kinds, kind_counts

    for outcome in outcomes:
        if not outcome.passed:
            case = outcome.case
            change = f" ({case.change} of {case.original!r})" if case.original else ""
            expected, predicted = (
                ", ".join(labels) or "no label" for labels in (outcome.expected, outcome.predicted)
            )
            yield f"failed  {case.kind}: {case.text!r}{change}: expected {expected}, predicted {predicted}"
    yield f"{'kind':22} {'cases':>5} {'passed':>6} {'share':>7} {'wanted':>7}"
    for kind, (passed, count) in kind_counts(outcomes).items():
        yield f"{kind:22} {count:5,} {passed:6,} {passed / count:7.1%} {cases.min_share.get(kind, 1.0):7.1%}"
    if failed := failed_kinds(cases, outcomes):
        yield f"too few cases passed: {', '.join(failed)}"


COMMANDS = (Command("check", PREDICT, check, _add_arguments),)
