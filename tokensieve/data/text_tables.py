"""Read the rows of CSV, TSV and JSON Lines files, line by line.

A file whose name ends in .gz is decompressed as it is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from tokensieve.data.dialects import SAMPLE, Dialect, csv_dialect, tsv_dialect
from tokensieve.data.encodings import encoding_of, likely_encoding
from tokensieve.data.joined_rows import JoinedRows
from tokensieve.data.open_quotes import MOST, OpenQuoteError, RowLines
from tokensieve.data.table_formats import Wanted, check_columns, ending_of, format_of
from tokensieve.errors import InputError, excerpt
from tokensieve.json_objects import (
    RepeatedKeyError,
    WrittenNumber,
    read_object,
    read_plain_object,
    refuse_whole_document,
)

# Messages of the csv module.
OPEN_QUOTE, LONE_RETURN = "unexpected end of data", "new-line character"


def read_lines(path: Path, encoding: str | None = None, *, is_settable: bool = True) -> Iterator[str]:
    """Yield the decoded lines of a text file with their line ends, without byte order marks.

    A byte order mark names the encoding. A file without one has the given `encoding`, or is UTF-8.
    `is_settable` is whether the user can set it with `data.encoding`, for the message.

    Raises:
        InputError: If the file has another encoding, or is not a complete gzip file.
    """
    used = encoding or "UTF-8"
    try:
        used = codec_of(path, encoding)
        with _opened(path) as file:
            if used.startswith("utf-8"):
                lines = _utf8_lines(path, file, is_settable)
            else:
                lines = _line_feeds(file, used)
            # Programs that join files leave marks, or write a second one.
            yield from (line.lstrip("\ufeff") for line in itertools.islice(lines, 1))
            yield from lines
    except UnicodeError as error:
        remedy = ", or name its encoding with --set data.encoding=NAME" if is_settable else ""
        raise InputError(f"{path} is not {used} ({error}); save it as UTF-8{remedy}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is not a gzip file, or damaged ({error}); write it again") from None


def codec_of(path: Path, encoding: str | None) -> str:
    """Return the encoding with which `read_lines` reads a file.

    Raises:
        InputError: If `encoding_of` raises it.
    """
    with _opened(path) as file:
        return encoding_of(path, file, encoding)


def _opened(path: Path) -> BinaryIO:
    is_packed = ending_of(path).endswith(".gz")
    return cast(BinaryIO, gzip.open(path, "rb") if is_packed else path.open("rb"))


def _utf8_lines(path: Path, file: Iterable[bytes], is_settable: bool) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            likely = likely_encoding(line)
            save = f"save the file as UTF-8 (iconv -f {likely} -t utf-8)"
            remedy = f"read it so with --set data.encoding={likely}, or {save}" if is_settable else save
            raise InputError(
                f"{path}, line {number}: byte 0x{line[error.start]:02x} at column {error.start + 1} is not "
                f"UTF-8; it may be {likely}: {remedy}"
            ) from None


def _line_feeds(file: BinaryIO, encoding: str) -> Iterator[str]:
    """Yield the lines of an open file, which end at line feeds.

    A carriage return alone ends no line, as in a UTF-8 file.
    """
    part = ""
    with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        for line in text:
            part += line
            if part.endswith("\n"):
                yield part
                part = ""
    if part:
        yield part


def read_lines_without_nul(path: Path, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines as `read_lines` does.

    Raises:
        InputError: If `read_lines` raises it, or if a line has a NUL byte.
    """
    for number, line in enumerate(read_lines(path, encoding), 1):
        if "\0" in line:
            raise InputError(
                f"{path}, line {number}: a NUL byte at column {line.index(chr(0)) + 1}; remove it (tr -d "
                "'\\0')"
            )
        yield line


def read_records(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and then the rows of a CSV or TSV file, with the line where each starts.

    The first line is line 1. Blank lines are skipped.

    The beginning of a CSV file decides on its separator, and the first quotes of a TSV file decide
    on what quotes are in it.

    Raises:
        InputError: If a row has another number of columns than the header, or wrong quotes, or a
            quote that is open after `open_quotes.MOST` characters, or after the last row, if a row
            is several (`JoinedRows`).
    """
    csv.field_size_limit(2**31 - 1)
    row, start, joined, row_lines = 0, 0, None, RowLines()
    try:
        for end, separator, record in _records(path, lines, row_lines):
            if record:
                joined = joined or JoinedRows(separator, record)
                if len(record) != len(joined.columns):
                    raise InputError(
                        f"{path}, row {row} (line {start + 1}) has {len(record)} columns, the header "
                        f"{len(joined.columns)}; put quotes around a text that contains the separator"
                    )
                if row:
                    joined.add(row, start + 1, end, record)
                yield start + 1, record
                row += 1
            start = end
    except (csv.Error, OpenQuoteError) as error:
        reason = _reason(error, start + 1, row_lines)
        raise InputError(f"{path}, row {max(1, row)} (from line {start + 1}): {reason}") from None
    if joined:
        joined.check(path)


def _reason(error: Exception, start: int, row_lines: RowLines) -> str:
    """Return why a row cannot be read that starts at line `start`."""
    double = "double the quotes inside a quoted text"
    if isinstance(error, OpenQuoteError):
        return (
            f"the quote in line {start + row_lines.opened()} is not closed within {MOST:,} characters; close "
            f"it, {double}, or save longer texts as JSON Lines"
        )
    if OPEN_QUOTE in str(error):
        return f"the quote in line {start + row_lines.opened()} is never closed; close it, or {double}"
    if LONE_RETURN in str(error):
        return (
            "a carriage return without a line feed; end lines with LF or CRLF, and put quotes around a text "
            "of several lines"
        )
    return f"{error}; {double}"


def _records(path: Path, lines: Iterator[str], row_lines: RowLines) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the last line of each row, the separator and the cells. Blank lines have no cells."""
    before = 0
    for dialect, own in _dialects(path, lines):
        before += dialect.first_line
        row_lines.separator = dialect.separator
        reader = csv.reader(
            row_lines.feed(itertools.islice(own, dialect.first_line, None)),
            delimiter=dialect.separator,
            quoting=csv.QUOTE_MINIMAL if dialect.has_quotes else csv.QUOTE_NONE,
            strict=True,
        )
        for record in reader:
            row_lines.end_row()
            yield before + reader.line_num, dialect.separator, record
        before += reader.line_num


def _dialects(path: Path, lines: Iterator[str]) -> Iterator[tuple[Dialect, Iterator[str]]]:
    """Yield the dialect of a file with its lines.

    In a TSV file, the lines from the first quote on decide on the quotes. Those before are the same
    in both dialects, and are not kept.
    """
    if format_of(path) != ".tsv":
        begin, rest = _begin(lines)
        yield csv_dialect(begin), itertools.chain(begin, rest, lines)
        return
    header: list[str] = []
    quoted: list[str] = []
    yield Dialect("\t", has_quotes=False), _until_quote(lines, header, quoted)
    if quoted:
        begin, rest = _begin(itertools.chain(quoted, lines))
        yield tsv_dialect([*header, *begin], not rest), itertools.chain(begin, rest, lines)


def _until_quote(lines: Iterator[str], header: list[str], quoted: list[str]) -> Iterator[str]:
    """Yield the lines before the first one with a quote, and put the header and that one aside."""
    for line in lines:
        if '"' in line:
            quoted.append(line)
            return
        if not header:
            header.append(line)
        yield line


def _begin(lines: Iterator[str]) -> tuple[list[str], list[str]]:
    """Return the lines at the beginning of a file, and the next one. The file may end before it."""
    begin: list[str] = []
    size = 0
    for line in lines:
        if size > SAMPLE:
            return begin, [line]
        begin.append(line)
        size += len(line)
    return begin, []


def read_objects(
    path: Path, lines: Iterator[str], wanted: Wanted, texts: Sequence[str], *, written_numbers: bool = False
) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    """Yield the number, the line number, the line and the values of each row of a JSON Lines file.

    Each row has the required columns. The columns `texts` have a text or null. With
    `written_numbers`, fractions are `WrittenNumber`.

    Raises:
        InputError: If a line is not a JSON object, has a key twice, or lacks a required column.
    """
    row = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row += 1
        place = f"{path}, row {row} (line {number})"
        try:
            values = read_object(line) if written_numbers else read_plain_object(line)
        except RepeatedKeyError as error:
            raise InputError(f"{place}: {error}; keep one of them") from None
        except json.JSONDecodeError as error:
            refuse_whole_document(path, row, line)
            raise InputError(
                f"{place}: not JSON ({error.msg} at column {error.colno}); give one object per line"
            ) from None
        except (ValueError, RecursionError) as error:  # thousands of digits, thousands of brackets
            raise InputError(
                f"{place}: JSON that cannot be read ({error}); give one flat object per line"
            ) from None
        if not isinstance(values, dict):
            refuse_whole_document(path, row, line)
            raise InputError(
                f"{place}: {excerpt(values)} is not an object; give one per line, with keys "
                f"{', '.join(wanted)}"
            )
        if not wanted.keys() <= values.keys():
            check_columns(place, list(values), wanted, [values] if row == 1 else [])
        for text in texts:
            if isinstance(values[text], WrittenNumber) or not isinstance(values[text], str | None):
                raise InputError(f"{place}: {excerpt(text)} is {excerpt(values[text])}; give a text, or null")
        yield row, number, line, values
