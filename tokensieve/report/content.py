"""What the report of a run shows. Parts that a run does not have are empty and left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Fact:
    """A value with its name. `link` is an address of the user's own servers, or empty."""

    name: str
    value: str
    note: str = ""
    link: str = ""


@dataclass(frozen=True)
class Advice:
    """The verdict in parts, each a phrase that starts with a small letter.

    Attributes:
        is_good: Whether to promote the model. None: not known.
        title: The grade in a few words.
        good_for: What the model is good for.
        promote: Whether to promote it, and why not.
        remedies: What would help, the most effective first.
    """

    is_good: bool | None
    title: str
    good_for: str
    promote: str
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """A share that was measured on texts, with its 95% interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Table:
    """Cells as text. `note` explains them."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class ClassRow:
    """A class: the numbers of its texts, and its figures on the test texts."""

    label: str
    train: int
    test: int
    recall: float
    precision: float
    f1: float


@dataclass(frozen=True)
class WrongText:
    """A text with a wrong prediction.

    Attributes:
        where: Its line in the raw file, or its row.
        text: The text.
        probability: That of the prediction.
        suggested: The label that the audit suggests. Empty: it does not doubt the label.
    """

    where: str
    text: str
    probability: float
    suggested: str = ""


@dataclass(frozen=True)
class Confusion:
    """Test texts of class `true` that were predicted as another class.

    Attributes:
        true: Their class. For multi-label data, all labels of the text.
        predicted: What was predicted.
        count: Their number.
        of: Number of test texts of class `true`.
        texts: Some of them, the most probable prediction first.
    """

    true: str
    predicted: str
    count: int
    of: int
    texts: tuple[WrongText, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: counts [true class][predicted class]."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Epoch:
    """An epoch of the training. `phase` names which layers trained; empty if it is not known."""

    number: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    phase: str = ""


@dataclass(frozen=True)
class MaskMap:
    """The trained share of each weight matrix.

    Attributes:
        modules: The names of the matrices of a layer.
        layers: The names of the layers, from the lowest.
        shares: [layer][module], 0 to 1. None: the layer has no such matrix that could be trained.
        note: What the shares are of.
    """

    modules: tuple[str, ...]
    layers: tuple[str, ...]
    shares: tuple[tuple[float | None, ...], ...]
    note: str


@dataclass(frozen=True)
class Calibration:
    """Reliability diagrams: (confidence, accuracy, number of texts) per bin."""

    before: tuple[tuple[float, float, int], ...]
    after: tuple[tuple[float, float, int], ...]
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class ThresholdCurve:
    """What each confidence threshold would do.

    Attributes:
        thresholds: Ascending.
        coverage: Share of the test texts at or above each threshold.
        accuracy: Share of these that are right. None: there are none.
        oos_recall: Share of the out-of-scope texts below each threshold. Empty if there are none.
        chosen: The threshold of the model.
        interval: Its 95% interval, (low, high). None: not known.
        note: How many texts were measured.
    """

    thresholds: tuple[float, ...]
    coverage: tuple[float, ...]
    accuracy: tuple[float | None, ...]
    oos_recall: tuple[float, ...]
    chosen: float
    interval: tuple[float, float] | None
    note: str


@dataclass(frozen=True)
class Constructs:
    """The words and phrases that distinguish a class, the most informative first."""

    label: str
    constructs: tuple[str, ...]


@dataclass(frozen=True)
class Build:
    """An exported variant, and its milliseconds per text."""

    name: str
    milliseconds: float
    state: str  # served, refused, not proven, or empty
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """Something that the audit of the data found.

    `has_texts`: its table shows texts of the data.
    """

    title: str
    about: str
    table: Table
    has_texts: bool = True


@dataclass(frozen=True)
class Report:
    """All that the page shows, from top to bottom.

    Attributes:
        title: The name and the version of the model.
        made: When, as text.
        multi_label: Whether a text may have any number of labels.
        advice: The verdict. None: an earlier version of tokensieve evaluated the model.
        figures: The most important figures.
        compared: The accuracy of the model and of the baselines.
        champion: What the gate found against the champion, in one sentence.
        gate: The gate's rules. None: there was no gate.
        data: Facts about the data.
        warnings: Messages of checks that failed.
        classes: The classes, the weakest first.
        audit: What the audit found.
        constructs: Per class.
        vocabulary: Facts about the tokenizer.
        mask: The trained shares. None: not known.
        mask_facts: Facts about the mask.
        epochs: The training.
        confusions: The most frequent ones.
        matrix: None if there are many classes, or several labels per text.
        calibration: None: not known.
        threshold: None: not known.
        builds: The exported variants.
        build_head: The columns of their cells.
        build_notes: What was compared, and why variants were refused.
        lineage: Where the model comes from.
        changed_settings: The settings that are not the defaults.
        commands: What to do next, as comment and command.
    """

    title: str
    made: str
    multi_label: bool
    advice: Advice | None = None
    figures: tuple[Fact, ...] = ()
    compared: tuple[Measure, ...] = ()
    champion: str = ""
    gate: Table | None = None
    data: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    classes: tuple[ClassRow, ...] = ()
    audit: tuple[Finding, ...] = ()
    constructs: tuple[Constructs, ...] = ()
    vocabulary: tuple[Fact, ...] = ()
    mask: MaskMap | None = None
    mask_facts: tuple[Fact, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    matrix: Matrix | None = None
    calibration: Calibration | None = None
    threshold: ThresholdCurve | None = None
    builds: tuple[Build, ...] = ()
    build_head: tuple[str, ...] = ()
    build_notes: tuple[str, ...] = ()
    lineage: tuple[Fact, ...] = ()
    changed_settings: Mapping[str, str] | None = None
    commands: tuple[Fact, ...] = ()

    def without_texts(self) -> Report:
        """Return the report without texts of the data. Labels and single words stay."""
        confusions = tuple(replace(found, texts=()) for found in self.confusions)
        audit = tuple(
            replace(found, table=Table((), ())) if found.has_texts else found for found in self.audit
        )
        return replace(self, confusions=confusions, audit=audit)


def opening(phrase: str) -> str:
    """Return a phrase with a capital letter at its beginning. The others stay as they are."""
    return f"{phrase[:1].upper()}{phrase[1:]}"
