"""The runs in MLflow that make up a record, and how they are read and changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Run:
    """A run in MLflow.

    Attributes:
        id: Its id.
        experiment: The id of its experiment.
        name: Its name in MLflow's pages.
        status: RUNNING, FINISHED, FAILED or KILLED.
        deleted: Whether it is in MLflow's trash.
        started: When it began, in milliseconds since 1970.
    """

    id: str
    experiment: str
    name: str
    status: str
    deleted: bool
    started: int
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """An experiment in MLflow. `deleted`: It is in MLflow's trash, and its name is still in use."""

    id: str
    deleted: bool


class RunEditor(Protocol):
    """Experiments and runs that can be read and changed.

    Every method raises RegistryError if the registry does not respond.
    """

    def find_experiment(self, name: str) -> Experiment | None:
        """Return the experiment with this name; None if there is none."""

    def create_experiment(self, name: str, location: str | None) -> str:
        """Create an experiment and return its id.

        `location` is the address of its files; None for the default of the server.
        """

    def rename_experiment(self, experiment: str, name: str) -> bool:
        """Rename an experiment.

        Return False if another one has the name: of several processes, one succeeds.
        """

    def delete_experiment(self, experiment: str) -> None:
        """Put an experiment into MLflow's trash."""

    def run(self, run: str) -> Run | None:
        """Return a run, also a deleted one; None if it does not exist."""

    def runs(self, experiment: str) -> list[Run]:
        """Return all runs of an experiment, also the deleted ones."""

    def create_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        """Create a run with its tags, all at once, and return its id."""

    def write_once(self, run: str, key: str, value: str) -> bool:
        """Write a parameter of a run that has no value yet.

        MLflow's database refuses a second value of a parameter. So of several processes that write
        different values, one succeeds.

        Returns:
            Whether the parameter has this value now. False: it had another one.
        """

    def end_run(self, run: str, status: str) -> None:
        """Set the status of a run that has ended."""

    def delete_run(self, run: str) -> None:
        """Put a run into MLflow's trash."""
