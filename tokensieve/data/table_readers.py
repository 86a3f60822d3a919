"""Read tables from CSV, TSV, JSON Lines, Parquet and Arrow files.

A few rows are read at a time, so a file may be larger than memory. Rows are numbered from 1; the
header has no number. Every error names the file and, if it concerns one row, the row, with its line
if the file is a text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokensieve.data.arrow_tables import damaged, is_label, is_text, record_batches
from tokensieve.data.one_hot import refuse_one_hot
from tokensieve.data.safe_cells import has_safe_cells, plain_cell
from tokensieve.data.table_formats import (
    FORMATS,
    ONE_TEXT,
    TYPED,
    Wanted,
    check_columns,
    format_of,
    import_pyarrow,
)
from tokensieve.data.text_tables import read_lines, read_lines_without_nul, read_objects, read_records
from tokensieve.errors import InputError, excerpt
from tokensieve.text_rule import join_columns

# A chunk has at most so many rows, and so many bytes or characters, unless it is a single row.
CHUNK_ROWS = 1024
CHUNK_SIZE = 2**21
# The rows of a Parquet file that are decoded together if all columns are read. The length of a row
# is known only after it is decoded.
BATCH_ROWS = 64
# The same if only the text and label columns are read.
NARROW_BATCH_ROWS = 4096

FIRST_ROWS = 1000  # that show whether columns have only 0 and 1

# JSON can express half of a surrogate pair (\ud800), and UTF-8 cannot. The json module joins
# complete pairs.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a table.

    Attributes:
        texts: The text of each row; None if the row has none.
        rows: All columns, as one dict per row or as Arrow record batches.
        size: The length of the rows in bytes or characters.
    """

    texts: list[str | None]
    rows: list[Any]
    size: int = 0


# The number of a row, the line where it starts, and its values. Parquet and Arrow have no lines.
Row = tuple[int, int | None, list[Any]]
Record = tuple[int, list[str]]  # the line where a row of a CSV or TSV file starts, and its cells
# The size of some rows, their texts, and the rows themselves, as in `Chunk`.
Piece = tuple[int, list[str | None], list[Any]]


def read_rows(
    path: Path,
    texts: Sequence[str],
    labels: Sequence[str] = (),
    encoding: str | None = None,
    ids: Sequence[str] = (),
) -> Iterator[Row]:
    """Yield the number of each row, its line, and its values in `texts`, `labels` and `ids`.

    Text files have the given encoding, or else the one of their byte order mark, or UTF-8.

    This is the reader for training data. It refuses texts that a model cannot learn from, such as
    texts with NUL bytes or lone surrogates.

    Raises:
        InputError: If the file is missing or empty, its format is unknown, a column is missing, or
            a row is malformed.
    """
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give a {', '.join(FORMATS)} file or a folder with train and test files"
        )
    kind = format_of(path)
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; it needs a header and at least one row")
    names = "COLUMN" if len(texts) == 1 else f"[{', '.join(['COLUMN'] * len(texts))}]"
    wanted = dict.fromkeys(texts, (ONE_TEXT[0], ONE_TEXT[1].replace("COLUMN", names)))
    wanted |= dict.fromkeys(labels, ("--set", "data.label_column=COLUMN"))
    wanted |= dict.fromkeys(ids, ("--set", "data.id_column=COLUMN"))
    if kind in TYPED:
        rows = _typed_rows(path, wanted, texts)
    elif kind == ".jsonl":
        rows = _strict_objects(path, read_lines_without_nul(path, encoding), wanted, texts)
    else:
        rows = _cells(path, read_lines_without_nul(path, encoding), wanted, labels)
    row = None
    for row in rows:
        yield row
    if row is None:
        raise InputError(f"{path} has a header and no rows; it needs at least one")


def read_chunks(
    path: Path, text: str | Sequence[str], encoding: str | None = None, *, written_numbers: bool = False
) -> tuple[Any, Iterator[Chunk]]:
    """Return the columns of a table, and an iterator over its rows in chunks.

    The texts are in column `text`, or joined of several columns (`text_rule.join_columns`). The
    columns are a list of names, or for a Parquet or Arrow file
    an Arrow schema. For JSON Lines, the list is empty, because each row has its own columns. The
    same file always gives the same chunks. Text files have the encoding of `read_rows`.
    With `written_numbers`, fractions in JSON Lines are `WrittenNumber`.

    Raises:
        InputError: If the file is missing, its format is unknown, a column `text` is missing or not
            unique, or a row is malformed.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a {', '.join(FORMATS)} file")
    texts = (text,) if isinstance(text, str) else text
    if format_of(path) in TYPED:
        header, pieces = _typed_pieces(path, texts)
        return header, _chunks(pieces)
    lines = read_lines(path, encoding, is_settable=encoding is not None)
    if format_of(path) == ".jsonl":
        header, pieces = _json_pieces(path, lines, texts, written_numbers)
    else:
        header, pieces = _delimited_pieces(path, lines, texts)
    return header, _chunks(pieces)


def _chunks(pieces: Iterator[Piece]) -> Iterator[Chunk]:
    texts: list[str | None] = []
    rows: list[Any] = []
    size = 0
    for added, more, more_rows in pieces:
        if texts and (len(texts) + len(more) > CHUNK_ROWS or size + added > CHUNK_SIZE):
            yield Chunk(texts, rows, size)
            texts, rows, size = [], [], 0
        texts += more
        rows += more_rows
        size += added
    if texts:
        yield Chunk(texts, rows, size)


def _cells(path: Path, lines: Iterator[str], wanted: Wanted, labels: Sequence[str]) -> Iterator[Row]:
    header, records = _plain(read_records(path, lines))
    first = []
    if not wanted.keys() <= set(header):
        first = [
            dict(zip(header, record, strict=True)) for _, record in itertools.islice(records, FIRST_ROWS)
        ]
    if missing_label := next((column for column in labels if column not in header), None):
        refuse_one_hot(path, first, missing_label)
    check_columns(path, header, wanted, first)
    places = [header.index(column) for column in wanted]
    for number, (line, record) in enumerate(records, 1):
        yield number, line, [record[place] for place in places]


def _plain(records: Iterator[Record]) -> tuple[list[str], Iterator[Record]]:
    """Return the header and the rows, without the apostrophes that a table of predictions has."""
    _, header = next(records, (1, []))
    if not has_safe_cells(header):
        return header, records
    return [*map(plain_cell, header)], ((line, [*map(plain_cell, record)]) for line, record in records)


def _strict_objects(path: Path, lines: Iterator[str], wanted: Wanted, texts: Sequence[str]) -> Iterator[Row]:
    for number, line, _, row in read_objects(path, lines, wanted, texts, written_numbers=True):
        place = f"{path}, row {number} (line {line})"
        for column in wanted:
            values = row[column] if isinstance(row[column], list) else [row[column]]
            for value in values:
                if isinstance(value, dict | list):
                    raise InputError(
                        f"{place}: {excerpt(column)} is {excerpt(row[column])}; give a label, or a list of "
                        "labels"
                    )
                lone = LONE_SURROGATE.search(value) if isinstance(value, str) else None
                if lone:
                    raise InputError(
                        f"{place}: {excerpt(column)} has {lone[0]!a}, half of a character; remove it"
                    )
        yield number, line, [row[column] for column in wanted]


def _typed_rows(path: Path, wanted: Wanted, texts: Sequence[str]) -> Iterator[Row]:
    pyarrow = import_pyarrow(path)
    number = 0
    try:
        schema, batches = record_batches(path, NARROW_BATCH_ROWS, pyarrow, list(wanted))
        if not wanted.keys() <= set(schema.names):
            whole = next(record_batches(path, BATCH_ROWS, pyarrow)[1], None)
            first = whole.slice(0, BATCH_ROWS).to_pylist() if whole else []
            check_columns(path, schema.names, wanted, first)
        check_columns(path, schema.names, wanted)
        for column in wanted:
            kind = schema.field(column).type
            if not (is_text(kind, pyarrow) if column in texts else is_label(kind, pyarrow)):
                allowed = "texts" if column in texts else "names, whole numbers, or lists of them"
                raise InputError(f"{path}: column {excerpt(column)} has type {kind}; give {allowed}")
        for batch in batches:
            # An Arrow file may be a single batch. The batch is mapped into memory, but the Python
            # objects made of it are not.
            for start in range(0, batch.num_rows, NARROW_BATCH_ROWS):
                part = batch.slice(start, NARROW_BATCH_ROWS)
                for values in zip(*(part.column(column).to_pylist() for column in wanted), strict=True):
                    number += 1
                    yield number, None, list(values)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise damaged(path, number, error) from None


def _delimited_pieces(
    path: Path, lines: Iterator[str], texts: Sequence[str]
) -> tuple[list[str], Iterator[Piece]]:
    names, records = _plain(read_records(path, lines))
    check_columns(path, names, dict.fromkeys((*texts, *names), ("--text", "COLUMN")))
    rows = (dict(zip(names, record, strict=True)) for _, record in records)
    return names, ((sum(map(len, row.values())), [_joined(row, texts)], [row]) for row in rows)


def _json_pieces(
    path: Path, lines: Iterator[str], texts: Sequence[str], written_numbers: bool
) -> tuple[list[str], Iterator[Piece]]:
    rows = read_objects(
        path,
        lines,
        dict.fromkeys(texts, ("--text", "COLUMN")),
        texts,
        written_numbers=written_numbers,
    )
    return [], ((len(line), [_joined(row, texts)], [row]) for _, _, line, row in rows)


def _joined(row: dict[str, Any], texts: Sequence[str]) -> str | None:
    return join_columns([row[text] for text in texts])


def _typed_pieces(path: Path, texts: Sequence[str]) -> tuple[Any, Iterator[Piece]]:
    pyarrow = import_pyarrow(path)
    try:
        schema, batches = record_batches(path, BATCH_ROWS, pyarrow)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, 0, error) from None
    check_columns(path, schema.names, dict.fromkeys((*texts, *schema.names), ("--text", "COLUMN")))
    for text in texts:
        if not is_text(schema.field(text).type, pyarrow):
            raise InputError(f"{path}: column {excerpt(text)} has type {schema.field(text).type}; give texts")

    def pieces() -> Iterator[Piece]:
        row = 0
        try:
            for whole in batches:
                for start in range(0, whole.num_rows, BATCH_ROWS):
                    batch = whole.slice(start, BATCH_ROWS)
                    columns = [_texts(path, row, batch.column(text)) for text in texts]
                    joined = [join_columns(values) for values in zip(*columns, strict=True)]
                    row += batch.num_rows
                    if batch.nbytes <= CHUNK_SIZE:
                        yield batch.nbytes, joined, [batch]
                        continue
                    for place, one in enumerate(joined):
                        yield batch.slice(place, 1).nbytes, [one], [batch.slice(place, 1)]
        except (pyarrow.ArrowException, OSError) as error:
            raise damaged(path, row, error) from None

    return schema, pieces()


def _texts(path: Path, before: int, column: Any) -> list[str | None]:
    texts = []
    for row, value in enumerate(column, before + 1):
        try:
            texts.append(value.as_py())
        except UnicodeDecodeError:
            raise InputError(f"{path}, row {row}: the text is not UTF-8; write it again") from None
    return texts
