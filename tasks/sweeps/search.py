"""Search the best settings with Optuna: it proposes combinations and learns from their results.

The trials are kept in a journal file of the project. They cannot be in MLflow's database: both keep
the version of their tables in the table alembic_version, and each then refuses the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tasks.sweeps.space import Changes, Choices, Space

BATCH = 4  # combinations that are proposed at once; fixed, so that results do not depend on workers


def search(
    journal: Path,
    name: str,
    space: Space,
    trials: int,
    first: dict[str, Any] | None,
    measure: Callable[[Sequence[Changes]], Sequence[float]],
) -> list[Changes]:
    """Return the combinations of `trials` trials, without repetitions.

    The trials that `journal` has already under `name` count, so a search that was killed goes on.

    Args:
        journal: The file of the trials.
        name: A name for everything that decides the results.
        space: The values.
        trials: The number of trials.
        first: The combination to try first, by setting.
        measure: Returns the figure of each combination; higher is better. It is called first for
            the trials of the journal, if there are any.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=name,
        direction="maximize",
        load_if_exists=True,
    )
    if first is not None and not study.trials:
        study.enqueue_trial(first)
    distributions = {values.key: _distribution(values) for values in space}
    if known := _complete(study, space)[:trials]:
        measure(known)
    while (done := len(_complete(study, space))) < trials:
        batch = _ask(study, distributions, min(BATCH - done % BATCH, trials - done))
        for number, value in zip(
            batch, measure([_changes(study, number, space) for number in batch]), strict=True
        ):
            study.tell(number, value)
    return list(dict.fromkeys(_complete(study, space)[:trials]))


def _complete(study: optuna.Study, space: Space) -> list[Changes]:
    trials = study.get_trials(states=[TrialState.COMPLETE])
    return [_changes(study, trial.number, space) for trial in trials]


def _ask(study: optuna.Study, distributions: dict[str, BaseDistribution], count: int) -> list[int]:
    """Return the numbers of `count` trials that have a combination and no result."""
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if trial.params.keys() != distributions.keys():  # killed while it was proposed
            study.tell(trial.number, state=TrialState.FAIL)
    open_trials = [trial.number for trial in study.get_trials(states=[TrialState.RUNNING])][:count]
    while len(open_trials) < count:
        # Seeded by the trial's number: a search that goes on proposes what it would have proposed.
        study.sampler = optuna.samplers.TPESampler(seed=len(study.trials), constant_liar=True)
        open_trials.append(study.ask(distributions).number)
    return open_trials


def _changes(study: optuna.Study, number: int, space: Space) -> Changes:
    params = study.trials[number].params
    return tuple(f"{values.key}={_text(params[values.key])}" for values in space)


def _text(value: Any) -> str:
    # Four digits are finer than a measurable difference, and can be read.
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _distribution(values: Any) -> BaseDistribution:
    if isinstance(values, Choices):
        return CategoricalDistribution(values.values)
    if values.is_whole:
        return IntDistribution(int(values.low), int(values.high), log=values.is_log)
    return FloatDistribution(values.low, values.high, log=values.is_log)
