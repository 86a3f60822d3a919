"""Find out how a table in a text file is written: its separator and its quotes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

SEPARATORS = (",", ";", "\t", "|")
SEP = "sep="  # Excel writes and reads a first line such as sep=;
SAMPLE = 2**20  # characters that decide on the dialect of a file


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes:
        separator: The character between two cells.
        has_quotes: Whether cells may be in quotes.
        first_line: The place of the header: 1 after a line such as `sep=;`, otherwise 0.
    """

    separator: str
    has_quotes: bool = True
    first_line: int = 0


def csv_dialect(lines: Sequence[str]) -> Dialect:
    """Return the dialect of a CSV file by its first two lines.

    The separator is the one after `sep=`. Without such a line it is a comma, unless the header has
    none and another of `SEPARATORS`.
    """
    header = lines[0].partition("\n")[0].partition("\r")[0] if lines else ""
    if header.lower().startswith(SEP) and len(header) == len(SEP) + 1:
        return Dialect(header[-1], first_line=1)
    counts = {separator: _cells(header, separator) for separator in SEPARATORS}
    if counts[","] > 1:
        return Dialect(",")
    return Dialect(max(SEPARATORS, key=lambda separator: counts[separator]))


def tsv_dialect(lines: Sequence[str], is_whole: bool) -> Dialect:
    """Return the dialect of a TSV file by its header and the lines from its first quote on.

    Some programs write quotes around a cell with a tab or a line end, and others write every
    character as it is. Quotes are characters if the lines have none, if they cannot be read as
    quotes, or if they would join lines each of which is a row already.
    """
    if not any('"' in line for line in lines):
        return Dialect("\t", has_quotes=False)
    plain = {line.count("\t") for line in lines if line.strip("\r\n")}
    try:
        rows = [row for row in csv.reader(lines, delimiter="\t", strict=True) if row]
    except csv.Error as error:
        is_cut = not is_whole and "unexpected end of data" in str(error)
        return Dialect("\t", has_quotes=is_cut and len(plain) > 1)
    joins_lines = any("\n" in cell for row in rows for cell in row)
    is_even = len({len(row) for row in rows}) == 1
    return Dialect("\t", has_quotes=is_even and not (joins_lines and plain == {len(rows[0]) - 1}))


def _cells(header: str, separator: str) -> int:
    return max(map(len, csv.reader([header], delimiter=separator)), default=0)
