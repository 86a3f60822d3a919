"""Find cells in which a quote that was never closed joins rows.

Such a cell ends at the next quote before a separator, which may be many rows later, and the rows
between are lost. An honest text of several lines can look like rows by chance, if each line has the
right number of commas. So the rows must also have values that the other rows have, such as labels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokensieve.errors import InputError, excerpt

MOST_VALUES = 100_000  # of all columns together; a column with more than its share has no labels
LONGEST = 100  # characters of a label
MOST_CELLS = 1000  # joined cells that are looked at
NUMBER = re.compile(r"\d,\d")  # the comma in a number separates no label from a text


@dataclass(frozen=True)
class _Joined:
    """A row that may be several: its number, its lines, and their values in each other column."""

    row: int
    start: int
    end: int
    values: dict[int, list[str]]


@dataclass
class JoinedRows:
    """Collects the rows of a table with `add`. `check` then refuses rows that are several.

    Attributes:
        separator: The character between two cells.
        columns: The names of the columns.
    """

    separator: str
    columns: Sequence[str]
    _known: dict[int, set[str]] = field(default_factory=dict)
    _joined: list[_Joined] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._known = {place: set() for place in range(len(self.columns))}
        self._share = MOST_VALUES // max(1, len(self.columns))

    def add(self, row: int, start: int, end: int, cells: Sequence[str]) -> None:
        """Add a row, with its first and last line."""
        if end > start:
            values = self._values(cells)
            if values and len(self._joined) < MOST_CELLS:
                self._joined.append(_Joined(row, start, end, values))
            return
        full = []
        for place, known in self._known.items():
            known.add(cells[place])
            if len(known) > self._share or len(cells[place]) > LONGEST:
                full.append(place)
        for place in full:
            del self._known[place]

    def check(self, path: Path) -> None:
        """Check the rows that have been added.

        Raises:
            InputError: If each line of a row is a row, and at least half of these have a known
                value in one column. The message names `path`, the lines and the column.
        """
        for own in self._joined:
            for place, values in own.values.items():
                known = self._known.get(place, set()) - {""}
                if 2 * sum(value in known for value in values) >= len(values):
                    raise InputError(
                        f"{path}, row {own.row} (lines {own.start} to {own.end}): a quote joins lines that "
                        f"are rows, for their values in column {excerpt(self.columns[place], 40)}, such as "
                        f"{excerpt(next(value for value in values if value in known), 40)}, are those of "
                        f"other rows; double the quote in line {own.start} and put the text in quotes, or "
                        f"remove the quotes in lines {own.start} and {own.end}; if the lines are one text, "
                        "save the data as JSON Lines"
                    )

    def _values(self, cells: Sequence[str]) -> dict[int, list[str]] | None:
        """Return the values that the lines give each other column. None: not each line is a row.

        The values of the row itself are left out: they say nothing about its lines.
        """
        joined = [place for place, cell in enumerate(cells) if "\n" in cell]
        if len(joined) != 1:
            return None
        before, after = list(cells[: joined[0]]), list(cells[joined[0] + 1 :])
        first, *middle, last = cells[joined[0]].split("\n")
        lines = [first, *middle, last]
        rows = [line.rstrip("\r").split(self.separator) for line in lines]
        rows[0], rows[-1] = before + rows[0], rows[-1] + after
        if any(len(row) != len(cells) for row in rows):
            return None
        if self.separator == "," and len(cells) == 2:
            rows = [["", ""] if NUMBER.search(line) else row for line, row in zip(lines, rows, strict=True)]
        return {
            place: [
                row[place] if len(row[place]) <= LONGEST else ""
                for row in (rows[1:] if place < joined[0] else rows[:-1])
            ]
            for place in self._known
            if place != joined[0]
        }
