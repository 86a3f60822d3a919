"""Labelled texts in memory, and the file that stages exchange: JSON Lines, one object per text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokensieve.data.row_place import row_place
from tokensieve.errors import InputError
from tokensieve.files import atomic_file


@dataclass(frozen=True)
class Examples:
    """Texts with their labels.

    Attributes:
        texts: The texts.
        labels: The names of the labels of each text, in sorted order. The tuple is empty for a text
            without a label, such as an out-of-scope text.
        rows: The row of the raw file that each text comes from. Row 1 comes after the header.
        multi_label: Whether a text may have any number of labels; otherwise it has at most one.
        ids: The value of `data.id_column` of each text. Empty without this setting.
        lines: The line of the raw file where each row starts; line 1 is the first of the file.
            Empty if the file has no lines, and if an earlier version saved the examples.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[tuple[str, ...]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    multi_label: bool = False
    ids: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, texts: Iterable[str], labels: Iterable[str | Sequence[str]] | None = None) -> Examples:
        """Return examples with rows numbered from 1.

        `labels` has one name per text, or for multi-label data a sequence of names per text. If it
        is None, the texts have no labels.
        """
        texts = list(texts)
        given = [()] * len(texts) if labels is None else list(labels)
        names = [tuple(sorted({own} - {""} if isinstance(own, str) else set(own))) for own in given]
        multi_label = labels is not None and any(not isinstance(own, str) for own in given)
        return cls(texts, names, list(range(1, len(texts) + 1)), multi_label)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> Examples:
        """Return the examples at `indices`, in that order."""
        return Examples(
            [self.texts[i] for i in indices],
            [self.labels[i] for i in indices],
            [self.rows[i] for i in indices],
            self.multi_label,
            [self.ids[i] for i in indices] if self.ids else [],
            [self.lines[i] for i in indices] if self.lines else [],
        )

    def place(self, index: int) -> str:
        """Return where the example at `index` is in the raw file, for messages."""
        return row_place(self.place_fields(index))

    def place_fields(self, index: int) -> dict[str, int | str]:
        """Return the row of the example at `index`, and its line and id if they are known."""
        found: dict[str, int | str] = {"row": self.rows[index]}
        found |= {"line": self.lines[index]} if self.lines else {}
        return found | ({"id": self.ids[index]} if self.ids else {})

    def save(self, path: Path) -> None:
        """Write the examples as JSON Lines, atomically.

        The label is a string, or a list of strings for multi-label data. A single-label text
        without a label has no key `label`.
        """
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for i, (row, text, names) in enumerate(zip(self.rows, self.texts, self.labels, strict=True)):
                payload: dict[str, Any] = {"row": row}
                if self.lines:
                    payload["line"] = self.lines[i]
                payload["text"] = text
                if self.ids:
                    payload["id"] = self.ids[i]
                if self.multi_label:
                    payload["label"] = names
                elif names:
                    payload["label"] = names[0]
                file.write(json.dumps(payload, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path, separator: str | None = None) -> Examples:
        """Return the examples that `save` wrote. `separator` is that of `load_labels`.

        Raises:
            InputError: If the file is damaged.
        """
        rows, lines, texts, labels, ids, multi_label = [], [], [], [], [], separator is not None
        for row, names in _saved_rows(path, separator):
            rows.append(row["row"])
            lines += [row["line"]] if "line" in row else []
            texts.append(row["text"])
            labels.append(names)
            ids += [row["id"]] if "id" in row else []
            multi_label = multi_label or isinstance(row.get("label"), list)
        return cls(texts, labels, rows, multi_label, ids, lines)


def load_labels(path: Path, separator: str | None = None) -> tuple[list[tuple[str, ...]], bool]:
    """Return the labels of saved examples, and whether they are multi-label.

    The texts are not kept, so this takes 8 bytes of memory per text. Earlier versions saved
    multiple labels as one string, joined by `separator`, the setting `data.label_separator`.

    Raises:
        InputError: If the file is damaged.
    """
    labels, multi_label = [], separator is not None
    for row, names in _saved_rows(path, separator):
        labels.append(names)
        multi_label = multi_label or isinstance(row.get("label"), list)
    return labels, multi_label


def _saved_rows(path: Path, separator: str | None) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    distinct: dict[tuple[str, ...], tuple[str, ...]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(
                    f"{path}, line {number}: not JSON ({error}); run the stage split again"
                ) from None
            label = row.get("label", "")
            if isinstance(label, str) and separator is not None:
                label = label.split(separator)
            names = tuple(label) if isinstance(label, list) else (label,)
            names = tuple(name for name in names if name)
            yield row, distinct.setdefault(names, names)
