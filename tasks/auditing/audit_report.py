"""The result of the audit as an artifact: audit.json, written by the stage and read by others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokensieve.audit.classes import Overlap
from tokensieve.data.row_place import row_place
from tokensieve.errors import InputError
from tokensieve.files import read_json, write_json

NAME = "audit.json"
MOST_CHARACTERS = 300  # of a text in the artifact
# Share of the labels that a probe gives, below which it doubts more right labels than wrong ones.
SEPARABLE = 0.8
# Measured by benchmarks/studies/audit.py on banking77 and clinc150.
MISSED = "that is no proof: of the wrong labels planted to measure the audit, it missed 16% to 30%"


@dataclass(frozen=True)
class AuditedRow:
    """One row of the raw data.

    Attributes:
        file: The name of the user's file.
        row: The row in that file. Row 1 comes after the header.
        part: train, validation or test.
        labels: Its labels.
        text: Its text, which may be cut.
        id: The value of `data.id_column`; empty without this setting.
        line: The line of the file where the row starts. None: the file has no lines.
    """

    file: str
    row: int
    part: str
    labels: tuple[str, ...]
    text: str
    id: str = ""
    line: int | None = None

    @property
    def place(self) -> str:
        """Where people find the row: its line, or its number without lines, and its id."""
        return row_place(vars(self))


@dataclass(frozen=True)
class LabelError:
    """A label that is likely wrong, with the probabilities of a probe that did not see the text."""

    row: AuditedRow
    suggested: str
    given_probability: float
    suggested_probability: float


@dataclass(frozen=True)
class Duplicates:
    """A set of similar texts.

    Attributes:
        kind: copy, near-copy or meaning.
        similarity: The lowest similarity to the first text.
        conflict: Whether the labels differ.
        leak: Whether the set spans training texts and texts that measure the model.
        texts: The number of texts.
        rows: The first of them.
    """

    kind: str
    similarity: float
    conflict: bool
    leak: bool
    texts: int
    rows: tuple[AuditedRow, ...]


@dataclass(frozen=True)
class Outlier:
    """A text unlike all others: the cosine to its third nearest neighbour is low."""

    row: AuditedRow
    similarity: float


@dataclass(frozen=True)
class ClassSize:
    """A class and the number of its texts."""

    label: str
    texts: int


@dataclass(frozen=True)
class Audit:
    """What may be wrong with the data. Lists are cut; `totals` has their full lengths.

    Attributes:
        parts: The number of texts by part.
        judged: The number of texts whose labels were judged.
        not_judged: Why labels were not judged. Empty: they were.
        totals: The number of `label_errors`; `copy_sets`, sets of copies and near-copies;
            `conflicts`, those with different labels; `leaks`, those that span train and another
            part; `similar_sets`, sets of texts of the same meaning; and `outliers`.
        label_errors: The likeliest first.
        duplicate_sets: Copies and near-copies, then texts of the same meaning. In both, conflicts
            first, then leaks, then the larger sets.
        overlaps: Pairs of classes that the probe takes for each other.
        classes: All classes, the largest first. For multi-label data, counted per label.
        small_classes: Those with fewer than 10 texts.
        lookalikes: Groups of labels that look alike, the most frequent first.
        lengths: Tokens per text: `texts` counted, `truncated`, `share`, `median`, `p90`, `p99`,
            `longest`, `max_length`, `histogram` of (most tokens, texts), and others.
        outliers: The most unlike first.
        reviewed: The number of rows in review.csv.
        agreement: The share of the judged texts that the probe gives the label that they have.
    """

    parts: Mapping[str, int]
    judged: int
    not_judged: str
    totals: Mapping[str, int]
    label_errors: tuple[LabelError, ...]
    duplicate_sets: tuple[Duplicates, ...]
    overlaps: tuple[Overlap, ...]
    classes: tuple[ClassSize, ...]
    small_classes: tuple[ClassSize, ...]
    lookalikes: tuple[tuple[ClassSize, ...], ...]
    lengths: Mapping[str, Any]
    outliers: tuple[Outlier, ...]
    reviewed: int
    agreement: float = 1.0

    @property
    def is_separable(self) -> bool:
        """Whether the probe knows the classes well enough for its doubts to be likely errors."""
        return self.agreement >= SEPARABLE

    @property
    def to_correct(self) -> int:
        """The number of likely label errors. 0 if they are only doubtful labels."""
        return self.totals["label_errors"] if self.is_separable else 0

    def suggested_labels(self, part: str) -> dict[int, str]:
        """Return the label suggested for each likely label error of a part, by its row."""
        found = self.label_errors if self.is_separable else ()
        return {own.row.row: own.suggested for own in found if own.row.part == part}

    def headline(self) -> str:
        """Return what was found in one line. Empty: nothing."""
        doubt = "likely label error" if self.is_separable else "doubtful label"
        counts = (
            (self.totals["label_errors"], doubt, f"{doubt}s"),
            (
                self.totals["conflicts"],
                "set of copies with different labels",
                "sets of copies with different labels",
            ),
            (self.totals["leaks"], "set of copies in train and test", "sets of copies in train and test"),
            (len(self.overlaps), "pair of overlapping classes", "pairs of overlapping classes"),
            (len(self.lookalikes), "group of labels that look alike", "groups of labels that look alike"),
            (len(self.small_classes), "class with few texts", "classes with few texts"),
            (self.totals["outliers"], "outlier", "outliers"),
        )
        return ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in counts if count)

    def save(self, folder: Path) -> None:
        """Write audit.json into `folder`."""
        write_json(folder / NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Audit:
        """Read the audit.json that `save` wrote.

        Raises:
            InputError: If it is missing or damaged, or a field is missing.
        """
        path = folder / NAME
        try:
            return cls._of(read_json(path))
        except FileNotFoundError:
            raise InputError(f"{path} is missing; run tokensieve audit") from None
        except (AttributeError, KeyError, TypeError):
            raise InputError(
                f"{path} was written by another version of tokensieve; run tokensieve stage audit --force"
            ) from None

    @classmethod
    def load_or_none(cls, folder: Path) -> Audit | None:
        """Read audit.json. None if it is missing or of another version: an audit is optional."""
        try:
            return cls.load(folder)
        except InputError:
            return None

    @classmethod
    def _of(cls, tree: dict[str, Any]) -> Audit:
        made: dict[str, Any] = {
            "label_errors": tuple(LabelError(**own | {"row": _row(own)}) for own in tree["label_errors"]),
            "duplicate_sets": tuple(
                Duplicates(**own | {"rows": tuple(_row({"row": row}) for row in own["rows"])})
                for own in tree["duplicate_sets"]
            ),
            "overlaps": tuple(Overlap(**own) for own in tree["overlaps"]),
            "lookalikes": tuple(tuple(ClassSize(**own) for own in group) for group in tree["lookalikes"]),
            "outliers": tuple(Outlier(**own | {"row": _row(own)}) for own in tree["outliers"]),
        }
        for key in ("classes", "small_classes"):
            made[key] = tuple(ClassSize(**own) for own in tree[key])
        return cls(**tree | made)


def _row(tree: Mapping[str, Any]) -> AuditedRow:
    own = tree["row"]
    return AuditedRow(**own | {"labels": tuple(own["labels"])})
