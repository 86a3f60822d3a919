"""Turn the cells of a label column into names of labels, and refuse columns that have none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from tokensieve.data.normalize import is_blank
from tokensieve.errors import InputError, excerpt

MOST = 0.5  # share of rows with a label of their own from which labels are numbers


@dataclass
class LabelCells:
    """Reads the cells of a label column with `names`. `check` then refuses columns without labels.

    Attributes:
        separator: The character between the labels of a cell; None if a cell has one, or a list.
        typed: Whether the file is Parquet or Arrow, where the float 3.0 is the label 3.
        place: Returns where the cell that is being read is, for messages.
    """

    separator: str | None
    typed: bool
    place: Callable[[], str]
    # Labels repeat: each different cell is read once.
    _read: dict[object, tuple[str, ...]] = field(default_factory=dict)
    _kinds: dict[bool, str] = field(default_factory=dict)  # places of the first list and of the first other
    _fraction: tuple[str, str] | None = None  # the first one, after its place

    @property
    def has_lists(self) -> bool:
        """Whether a cell is a list."""
        return True in self._kinds

    def names(self, value: object) -> tuple[str, ...]:
        """Return the names in a cell, sorted."""
        cells = value if isinstance(value, list) else [value]
        key = (type(value), *((type(cell), cell) for cell in cells))  # 1 and True are equal in Python
        if key not in self._read:
            if self.separator is not None and isinstance(value, str):
                cells = value.split(self.separator)
            names = self._read[key] = tuple(sorted({_name(cell, self.typed) for cell in cells} - {""}))
            if value not in (None, ""):
                self._kinds.setdefault(isinstance(value, list), self.place())
            if not self.typed or any(isinstance(cell, float | Decimal) for cell in cells):
                fractions = [(self.place(), name) for name in names if _is_fraction(name)]
                self._fraction = self._fraction or next(iter(fractions), None)
        return self._read[key]

    def check(self, path: Path, column: str | None, rows: int | None) -> None:
        """Check the cells that have been read, those of `rows` rows. None: fractions are labels.

        Raises:
            InputError: If only some cells are lists, or if there are fractions and most rows have a
                label of their own. The message names the file `path` and its `column`.
        """
        if len(self._kinds) > 1 and self.separator is None:
            raise InputError(
                f"{path}: the label in {self._kinds[True]} is a list, and that in {self._kinds[False]} is "
                "not; if a text can have several labels, write a list in each row, and otherwise in none"
            )
        if rows is not None and self._fraction and len(self._read) > rows * MOST:
            place, fraction = self._fraction
            raise InputError(
                f"{path}, {place}: column {excerpt(column)} has the fraction {excerpt(fraction)}; "
                f"it has {len(self._read):,} different values in {rows:,} rows, like a column of numbers: "
                "name the right column with --set data.label_column=COLUMN"
            )


def _name(cell: object, typed: bool) -> str:
    """Return the name of the label in one cell, or "" if there is none."""
    if cell is None or (isinstance(cell, float | Decimal) and math.isnan(cell)):
        return ""
    if typed and isinstance(cell, float | Decimal) and math.isfinite(cell) and cell == int(cell):
        cell = int(cell)
    return "" if is_blank(str(cell)) else str(cell).strip()


def _is_fraction(text: str) -> bool:
    try:
        if not math.isfinite(float(text)):
            return False
    except ValueError:
        return False
    try:
        int(text)
    except ValueError:
        return True
    return False
