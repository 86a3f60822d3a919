"""Tables with any columns, one of them texts, read a chunk of rows at a time: what is scored in bulk may be larger than memory.

Rows are numbered from 1, the header not counted. Training data have a reader of their own (`examples.py`), which is stricter.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokensieve.data.examples import FAULTS, FORMATS, TYPED, record_batches
from tokensieve.errors import InputError, excerpt

# A chunk holds this many rows at most, and this many bytes, or characters, unless one row is longer.
ROWS = 1024
SIZE = 2**21
# Rows of a typed file that are read at a time: how long they are is known only then.
READ = 64


@dataclass(frozen=True)
class Chunk:
    """Rows that stand one below the other.

    `texts`: the one of each row, None where there is none. `rows`: all columns, a dict a row, or Arrow's record batches. `size`: their
    bytes or characters.
    """

    texts: list[str | None]
    rows: list[Any]
    size: int = 0


# The size of some rows, their texts, and the rows.
Piece = tuple[int, list[str | None], list[Any]]


def read(path: Path, text: str) -> tuple[Any, Iterator[Chunk]]:
    """A table's columns (names; of a typed file, Arrow's schema; of JSONL, none yet) and its rows, the texts in column `text`.

    The same file is always cut into the same chunks.

    Raises:
        InputError: no file, an unknown format, no such column or two, a row that cannot be read, a text that is none.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a {', '.join(FORMATS)} file")
    reader = {".csv": _delimited, ".tsv": _delimited, ".jsonl": _jsonl, ".parquet": _typed, ".arrow": _typed}[
        suffix(path)
    ]
    header, pieces = reader(path, text)
    return header, _chunks(pieces)


def suffix(path: Path) -> str:
    """The ending of a path, small. Raises InputError: no known format has it."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise InputError(f"{path} has the ending {excerpt(path.suffix)}; allowed: {', '.join(FORMATS)}")
    return ending


def pyarrow_for(path: Path) -> Any:
    """The module pyarrow, which a machine that only serves may lack. Raises InputError: it does."""
    try:
        import pyarrow.parquet
    except ImportError:
        others = ", ".join(ending for ending in FORMATS if ending not in TYPED)
        raise InputError(
            f"{path} needs pyarrow, which is not installed; pip install pyarrow, or give {others}"
        ) from None
    return pyarrow


def _chunks(pieces: Iterator[Piece]) -> Iterator[Chunk]:
    texts: list[str | None] = []
    rows: list[Any] = []
    size = 0
    for added, more, pieces_rows in pieces:
        if texts and (len(texts) + len(more) > ROWS or size + added > SIZE):
            yield Chunk(texts, rows, size)
            texts, rows, size = [], [], 0
        texts += more
        rows += pieces_rows
        size += added
    if texts:
        yield Chunk(texts, rows, size)


def _check(path: Path, names: Sequence[str], text: str) -> None:
    if text not in names:
        shown = ", ".join(excerpt(name, 40) for name in names[:20]) or "none"
        raise InputError(
            f"{path} has no column {excerpt(text)}; it has {shown}: name the right one with --text COLUMN"
        )
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"{path} has {list(names).count(twice)} columns {excerpt(twice)}; rename all but one"
        )


def _delimited(path: Path, text: str) -> tuple[list[str], Iterator[Piece]]:
    csv.field_size_limit(2**31 - 1)
    records = _records(path)
    names = next(records, [])
    _check(path, names, text)

    def pieces() -> Iterator[Piece]:
        for row, record in enumerate(records, 1):
            if len(record) != len(names):
                raise InputError(
                    f"{path}, row {row} has {len(record)} columns, the header {len(names)}; "
                    "put quotes around a text that holds the separator"
                )
            values = dict(zip(names, record, strict=True))
            yield sum(map(len, record)), [values[text]], [values]

    return names, pieces()


def _records(path: Path) -> Iterator[list[str]]:
    """The header and the rows of a CSV or TSV file; blank lines are none."""
    row = 0
    with path.open("rb") as raw:
        decoded = (line.decode("utf-8" if number else "utf-8-sig") for number, line in enumerate(raw))
        reader = csv.reader(decoded, delimiter="\t" if suffix(path) == ".tsv" else ",", strict=True)
        try:
            for record in reader:
                if record:
                    yield record
                    row += 1
        except csv.Error as error:
            known = (fault for sign, fault in FAULTS.items() if sign in str(error))
            fault = next(known, f"{error}; double the quotes inside a quoted text")
            raise InputError(f"{path}, row {row} (to line {reader.line_num}): {fault}") from None
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, row {row} (line {reader.line_num + 1}): byte 0x{error.object[error.start]:02x} is not UTF-8; "
                "save the file as UTF-8 (it may be Latin-1: iconv -f latin1 -t utf-8)"
            ) from None


def _jsonl(path: Path, text: str) -> tuple[list[str], Iterator[Piece]]:
    def pieces() -> Iterator[Piece]:
        row = 0
        with path.open("rb") as raw:
            for number, line in enumerate(raw):
                if not line.strip():
                    continue
                row += 1
                try:
                    values = json.loads(line.decode("utf-8" if number else "utf-8-sig"))
                except (
                    ValueError,
                    RecursionError,
                ) as error:  # also what is not UTF-8, numbers of thousands of digits
                    raise InputError(
                        f"{path}, row {row} (line {number + 1}): not JSON ({error}); one object a line"
                    ) from None
                if not isinstance(values, dict):
                    raise InputError(
                        f"{path}, row {row}: holds {excerpt(values)}; one object a line, with the key {excerpt(text)}"
                    )
                if text not in values:
                    _check(Path(f"{path}, row {row}"), list(values), text)
                if not isinstance(values[text], str | None):
                    raise InputError(
                        f"{path}, row {row}: {excerpt(text)} holds {excerpt(values[text])}; give a text, or null"
                    )
                yield len(line), [values[text]], [values]

    return [], pieces()


def _typed(path: Path, text: str) -> tuple[Any, Iterator[Piece]]:
    pyarrow = pyarrow_for(path)
    try:
        schema, batches = record_batches(path, READ)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, 0, error) from None
    _check(path, schema.names, text)
    kind = schema.field(text).type
    kind = kind.value_type if isinstance(kind, pyarrow.DictionaryType) else kind
    if kind not in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
        raise InputError(f"{path}: column {excerpt(text)} holds {kind}; give texts")

    def pieces() -> Iterator[Piece]:
        row = 0
        try:
            for whole in batches:
                for start in range(0, whole.num_rows, READ):
                    batch = whole.slice(start, READ)
                    texts = _texts(path, row, batch.column(text))
                    row += batch.num_rows
                    if batch.nbytes <= SIZE:
                        yield batch.nbytes, texts, [batch]
                    else:
                        for place, one in enumerate(texts):
                            yield batch.slice(place, 1).nbytes, [one], [batch.slice(place, 1)]
        except (pyarrow.ArrowException, OSError) as error:
            raise _damaged(path, row, error) from None

    return schema, pieces()


def _texts(path: Path, before: int, column: Any) -> list[str | None]:
    texts = []
    for row, value in enumerate(column, before + 1):
        try:
            texts.append(value.as_py())
        except UnicodeDecodeError:
            raise InputError(f"{path}, row {row}: the text is not UTF-8; write it again") from None
    return texts


def _damaged(path: Path, row: int, error: Exception) -> InputError:
    reason = str(error).splitlines()[0]
    return InputError(
        f"{path} is no {suffix(path)[1:].capitalize()} file, or a damaged one, after row {row} ({reason}); write it again"
    )
