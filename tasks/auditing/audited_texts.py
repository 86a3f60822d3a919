"""The texts that the audit is about: all labelled rows of the raw data, and the part of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.auditing.audit_report import AuditedRow
from tasks.split import load_part
from tasks.versioning.data_versions import shown_names
from tokensieve.data.examples import Examples
from tokensieve.data.label_names import prepare_labels
from tokensieve.data.raw_data import find_part_files, read_raw_once
from tokensieve.data.split import SPLIT_PARTS
from tokensieve.project import Layout
from tokensieve.settings import Settings

JOINT = "|"  # between the labels of a multi-label text


def join_labels(names: Sequence[str]) -> str:
    """Return the labels of a text as one cell of a review. `|` alone: a text without labels."""
    return JOINT.join(names) or JOINT


def split_labels(cell: str) -> tuple[str, ...]:
    """Return the labels of a multi-label cell, sorted, each once."""
    return tuple(sorted({name for name in map(str.strip, cell.split(JOINT)) if name}))


@dataclass
class AuditedTexts:
    """The texts in columns: first those of the split, then those that the split left out.

    Attributes:
        texts: The texts.
        labels: The labels of each text.
        parts: The part of each text: train, validation or test. For a text that the split left out,
            the part of its file.
        files: The part of the raw data that has the row.
        rows: The row in that file.
        ids: The id of each row. Empty texts if the data have none.
        lines: The line of each row in that file. None if it has no lines.
        places: The index of the text in its part of the split; -1 for a text that was left out.
        names: The names of the users' files by part of the raw data.
        multi_label: Whether a text may have any number of labels.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[tuple[str, ...]] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    lines: list[int | None] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    multi_label: bool = False

    def __len__(self) -> int:
        return len(self.texts)

    def row(self, index: int, longest: int | None = None) -> AuditedRow:
        """Return one text with its place, cut after `longest` characters."""
        text = self.texts[index][:longest]
        own = self.names[self.files[index]]
        return AuditedRow(
            own,
            self.rows[index],
            self.parts[index],
            self.labels[index],
            text,
            self.ids[index],
            self.lines[index],
        )


def load_texts(layout: Layout, settings: Settings) -> AuditedTexts:
    """Return the texts of the split and the labelled rows that it left out.

    It leaves out copies of test texts in train, and texts beyond `data.shots`. Out-of-scope texts
    have no label and are not audited.
    """
    found, files = AuditedTexts(), find_part_files(layout.raw)
    found.names = shown_names(layout, files)
    raw = read_raw_once(files, settings.data, layout.parsed).checked()
    seen = set()
    for part in SPLIT_PARTS:
        examples = load_part(layout, part)
        found.multi_label = found.multi_label or examples.multi_label
        file = part if part in files else "train"
        for place, row in enumerate(examples.rows):
            _add(found, examples, place, part, file, place)
            seen.add((file, row))
    for part, examples in prepare_labels(raw, settings.data).parts.items():
        if part == "oos":
            continue
        for index, row in enumerate(examples.rows):
            if (part, row) not in seen and (examples.labels[index] or examples.multi_label):
                _add(found, examples, index, part, part, -1)
    # Split files of earlier versions lack the lines. The raw data have them, and all rows in order.
    for file, row in zip(found.files, found.rows, strict=True):
        lines = raw[file].lines
        found.lines.append(lines[row - 1] if lines else None)
    return found


def _add(found: AuditedTexts, own: Examples, index: int, part: str, file: str, place: int) -> None:
    found.texts.append(own.texts[index])
    found.labels.append(own.labels[index])
    found.parts.append(part)
    found.files.append(file)
    found.rows.append(own.rows[index])
    found.ids.append(own.ids[index] if own.ids else "")
    found.places.append(place)
