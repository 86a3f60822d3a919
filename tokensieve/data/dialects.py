"""Find out how a text file is written: its encoding, and the separator and quotes of a table."""

from __future__ import annotations

import codecs
import csv
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

SEPARATORS = (",", ";", "\t", "|")
SEP = "sep="  # Excel writes and reads a first line such as sep=;
PUNCTUATION = "€‚„…†‡‰‹‘’“”•–—™›¡£§©«®°±²³·»¿×"
SAMPLE = 2**20  # characters from the beginning of a file that decide on its quotes
# Byte order marks. UTF-32's begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


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


def marked_encoding(start: bytes) -> str:
    """Return the encoding that a byte order mark at the start of a file names.

    Without a mark, it is UTF-8.
    """
    return next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")


def likely_encoding(line: bytes) -> str:
    """Return the likely encoding of a line that is not UTF-8.

    It is Windows-1252, which has the characters of Latin-1, if that gives Latin letters and
    punctuation. Otherwise charset-normalizer guesses, if it is installed.
    """
    text = line.decode("cp1252", "replace")
    if all(char.isascii() or char in PUNCTUATION or "LATIN" in unicodedata.name(char, "") for char in text):
        return "cp1252"
    try:
        from charset_normalizer import from_bytes
    except ImportError:  # an installation for serving
        return "cp1252"
    best = from_bytes(line).best()
    return str(best.encoding) if best else "cp1252"


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
    """Return the dialect of a TSV file by the lines at its beginning, or by all of them.

    Some programs write quotes around a cell with a tab or a line end, and others write every
    character as it is. Quotes are characters if they cannot be read as quotes, or if they would
    join lines each of which is a row already.
    """
    if not any('"' in line for line in lines):
        return Dialect("\t")
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
