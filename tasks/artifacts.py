"""Typed artifacts: what one stage writes and another part of the pipeline reads.

The reports beside them are for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tokensieve.cleaning import NONE
from tokensieve.errors import InputError
from tokensieve.files import read_json, read_json_or_none, write_json
from tokensieve.truncation import HEAD

if TYPE_CHECKING:
    from tokensieve.method.constructs import Construct


@dataclass(frozen=True)
class Artifact:
    """A JSON file of known fields in the folder of its stage."""

    NAME: ClassVar[str]

    def save(self, folder: Path) -> None:
        """Write the artifact into `folder`, which is made if it does not exist."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / self.NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the artifact that `save` wrote.

        Raises:
            InputError: If the file is missing or damaged, or if a field is missing.
        """
        path = folder / cls.NAME
        try:
            tree = read_json(path)
        except FileNotFoundError:
            raise InputError(f"{path} is missing; run tokensieve run --force") from None
        known = {spec.name for spec in fields(cls)}
        try:
            return cls(**{key: _as_tuple(value) for key, value in tree.items() if key in known})
        except (AttributeError, TypeError):
            raise InputError(
                f"{path} was written by another version of tokensieve; run tokensieve run --force"
            ) from None


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Registration(Artifact):
    """The registered version of the present artifacts.

    Attributes:
        run_id: The id of the run in MLflow.
        name, version: Of the registered model.
        uri: models:/NAME/VERSION.
        experiment: The id of the run's experiment. Empty if an earlier version registered it.
        reports: The SHA-256 of the reports of validation and evaluation at that time, by the name
            of the folder. Empty if an earlier version registered it.
    """

    NAME: ClassVar[str] = "registration.json"
    run_id: str
    name: str
    version: str
    uri: str
    experiment: str = ""
    reports: dict[str, str] = field(default_factory=dict)

    def run_page(self, server: str) -> str:
        """Return the address of the run in MLflow's pages.

        They open as those of model training. Without the query they open as those of language
        models, unless the reader has chosen otherwise.
        """
        if not self.experiment:
            return f"{server.rstrip('/')}/#/runs/{self.run_id}"
        path = f"experiments/{self.experiment}/runs/{self.run_id}"
        return f"{server.rstrip('/')}/#/{path}?workflowType=machine_learning"


@dataclass(frozen=True)
class SplitSizes(Artifact):
    """The number of texts of each part."""

    NAME: ClassVar[str] = "sizes.json"
    train: int
    validation: int
    test: int
    oos: int = 0


@dataclass(frozen=True)
class TextFacts(Artifact):
    """How rows became texts (`tokensieve/text_rule.py`). Written only if it is not the default."""

    NAME: ClassVar[str] = "text.json"
    columns: tuple[str, ...] = ()
    clean: str = NONE


@dataclass(frozen=True)
class MaskFacts(Artifact):
    """Facts about the selection that training and the summary need besides the mask.

    Attributes:
        is_far: Whether the task is far from what the base model was trained for.
        trained_parameters: Parameters of mask and head.
        total_parameters: Parameters of the classifier.
    """

    NAME: ClassVar[str] = "facts.json"
    is_far: bool
    trained_parameters: int
    total_parameters: int


@dataclass(frozen=True)
class ModelFacts(Artifact):
    """Labels and input of the trained model.

    The other files of its folder have the format of Hugging Face.
    """

    NAME: ClassVar[str] = "classifier.json"
    labels: tuple[str, ...]
    max_length: int
    base: str
    truncation: str = HEAD


@dataclass(frozen=True)
class TrainingFacts(Artifact):
    """Facts about the training, besides its history."""

    NAME: ClassVar[str] = "training.json"
    phases: tuple[str, ...]  # of each epoch, as `training.schedule` names them


@dataclass(frozen=True)
class FittedRule(Artifact):
    """The decision rule as fitted on the calibration texts; see `inference/decisions.py`."""

    NAME: ClassVar[str] = "decision_rule.json"
    temperature: float
    threshold: float
    margin: float = 0.0
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Champion:
    """The version that is served, and its data: validation compares new data with them."""

    name: str
    version: str
    labels: tuple[str, ...]
    data_hash: str

    def save(self, path: Path) -> None:
        """Write data/champion.json, unless it has this content already.

        DVC finds validation stale after a change.
        """
        write_if_changed(path, asdict(self) | {"labels": list(self.labels)})

    @classmethod
    def load(cls, path: Path) -> Champion | None:
        """Read data/champion.json. None if there is no champion."""
        tree = read_json_or_none(path) or {}
        return cls(tree["name"], tree["version"], tuple(tree["labels"]), tree["data_hash"]) if tree else None


def save_class_names(folder: Path, names: list[str]) -> None:
    """Write labels.json, the names of the classes in the order of the model's outputs."""
    write_json(folder / "labels.json", names)


def load_class_names(folder: Path) -> list[str]:
    """Read the names of the classes that `save_class_names` wrote."""
    return [str(name) for name in read_json(folder / "labels.json")]


def save_constructs(folder: Path, constructs: Sequence[Construct]) -> None:
    """Write constructs.json, the most informative construct first."""
    write_json(folder / "constructs.json", [asdict(construct) for construct in constructs])


def load_constructs(folder: Path) -> list[Construct]:
    """Read the constructs that `save_constructs` wrote."""
    from tokensieve.method.constructs import Construct  # here: it imports torch

    return [Construct(**tree) for tree in read_json(folder / "constructs.json")]


def write_if_changed(path: Path, tree: dict[str, Any]) -> None:
    """Write `tree` as JSON, unless the file has this content already.

    A file that a merge has damaged is replaced.
    """
    if read_json_or_none(path) != tree:
        write_json(path, tree)
