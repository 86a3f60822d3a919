"""Write the output of bulk prediction: the rows of a table with the predictions next to them.

The formats are CSV, TSV, JSON Lines, Parquet and Arrow. `inference/bulk.py` makes the predictions.
The output is written in parts, one per chunk of rows, which are joined at the end. A part in CSV or
TSV has no header, and its cells are no formulas (`safe_cells.py`). Rows that come from a Parquet or
Arrow file stay Arrow record batches if the output is such a file as well.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokensieve.data.delimited import delimited, plain_text, without_surrogates
from tokensieve.data.row_lines import row_lines
from tokensieve.data.safe_cells import safe_value
from tokensieve.data.table_formats import TYPED, ending_of, format_of, import_pyarrow
from tokensieve.data.table_readers import Chunk, read_chunks
from tokensieve.errors import InputError, excerpt

GROUP_ROWS = 65_536  # the minimum number of rows in a Parquet row group, unless they are large
GROUP_BYTES = 2**27

# The Arrow type of each kind of answer column.
ANSWER_TYPES: dict[str, Callable[[Any], Any]] = {
    "label": lambda pyarrow: pyarrow.string(),
    "labels": lambda pyarrow: pyarrow.list_(pyarrow.string()),
    "probability": lambda pyarrow: pyarrow.float64(),
    "probabilities": lambda pyarrow: pyarrow.list_(pyarrow.float64()),
    "uncertain": lambda pyarrow: pyarrow.bool_(),
    "truncated": lambda pyarrow: pyarrow.bool_(),
    "top": lambda pyarrow: pyarrow.list_(
        pyarrow.struct([("label", pyarrow.string()), ("probability", pyarrow.float64())])
    ),
}


@dataclass(frozen=True)
class OutputTable:
    """A table of `total` rows to write to the file `path`.

    It has the columns `names` of the input, and the columns `answers`, each with its kind, a key of
    `ANSWER_TYPES`. `schema` is the Arrow schema of a Parquet or Arrow file, None for other formats.
    """

    path: Path
    names: tuple[str, ...]
    answers: Mapping[str, str]
    schema: Any
    total: int


def plan_output(
    source: Path,
    text: str | Sequence[str],
    output: Path,
    answers: Mapping[str, str],
    advance: Callable[[int], object],
) -> OutputTable:
    """Return the table to write at `output`, after reading all of `source`.

    So a row that cannot be read is found before any row is predicted. `advance` is called with each
    number of rows read.

    Raises:
        InputError: If `read_chunks` raises it, if a column of the input has the name of a column of
            answers, or if the format of the output cannot contain a column of the input.
    """
    pyarrow = import_pyarrow(output) if format_of(output) in TYPED else None
    header, chunks = read_chunks(source, text)
    typed = format_of(source) in TYPED
    names: dict[str, None] = dict.fromkeys(header.names if typed else header)
    schema = header if typed else None
    if pyarrow and not typed:
        schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    total = 0
    for chunk in chunks:
        if format_of(source) == ".jsonl":
            for row in chunk.rows:
                names.update(dict.fromkeys(row))
            if pyarrow:
                schema = _widened(schema, chunk, source, total + 1, pyarrow)
        total += len(chunk.texts)
        advance(len(chunk.texts))
    _check_names(names, answers, source, output)
    if typed and not pyarrow:
        _check_plain(header, source, output)
    if pyarrow:
        schema = _output_schema(schema, names, answers, format_of(output), pyarrow)
    return OutputTable(output, tuple(names), answers, schema, total)


def _check_names(names: Iterable[str], answers: Mapping[str, str], source: Path, output: Path) -> None:
    for name in names:
        if name in answers:
            raise InputError(
                f"{source} has a column {excerpt(name)}, the name of a column of answers; rename it, or add "
                "a prefix to the answers with --answer-prefix PREFIX"
            )
        if not name.isascii() and without_surrogates(name) != name and format_of(output) != ".jsonl":
            raise InputError(
                f"{source} has a key {name!a}, which is not Unicode; rename it, or write to .jsonl"
            )


def _output_schema(
    schema: Any, names: Iterable[str], answers: Mapping[str, str], kind: str, pyarrow: Any
) -> Any:
    types = {name: schema.field(name).type for name in names}
    if kind == ".arrow":  # an Arrow file has one dictionary per column, but each chunk has its own
        types = {
            name: own.value_type if isinstance(own, pyarrow.DictionaryType) else own
            for name, own in types.items()
        }
    types |= {name: ANSWER_TYPES[answer](pyarrow) for name, answer in answers.items()}
    return pyarrow.schema(types.items(), schema.metadata)


def encode_chunk(chunk: Chunk, answers: Mapping[str, Sequence[Any]], table: OutputTable) -> bytes:
    """Return the part with the rows of a chunk, and the values of each column of `answers`.

    Raises:
        InputError: If the format cannot contain a value.
    """
    kind = format_of(table.path)
    if kind in TYPED:
        return _typed(chunk, answers, table)
    records = [
        row | dict(zip(answers, values, strict=True))
        for row, *values in zip(row_dicts(chunk), *answers.values(), strict=True)
    ]
    if kind == ".jsonl":
        return b"".join(map(json_line, records))
    lists = [name for name, answer in table.answers.items() if answer in ("labels", "probabilities")]
    for record in records:
        for name in lists:
            record[name] = None if record[name] is None else "|".join(map(str, record[name]))
    columns = (*table.names, *table.answers)
    return delimited(
        ([safe_value(plain_text(record.get(name))) for name in columns] for record in records), kind
    )


def join_parts(parts: Iterable[Path], table: OutputTable, path: Path) -> None:
    """Write all `parts`, in their order, into one file at `path`.

    The format is that of `table`, whatever the name of `path`.
    """
    kind = format_of(table.path)
    if kind in TYPED:
        pyarrow = import_pyarrow(table.path)
        writer = pyarrow.parquet.ParquetWriter if kind == ".parquet" else pyarrow.ipc.new_file
        with writer(path, table.schema) as file:
            for rows in _tables(parts, kind, pyarrow):
                file.write_table(rows)
        return
    with gzip.open(path, "wb") if ending_of(table.path).endswith(".gz") else path.open("wb") as file:
        if kind != ".jsonl":
            file.write(delimited([[*map(safe_value, (*table.names, *table.answers))]], kind))
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, file)


def _tables(parts: Iterable[Path], kind: str, pyarrow: Any) -> Iterator[Any]:
    """Yield the rows of the parts as Arrow tables, for Parquet at least `GROUP_ROWS` rows each."""
    group: list[Any] = []
    for path in parts:
        if kind == ".arrow":
            with pyarrow.memory_map(str(path)) as source:
                yield pyarrow.ipc.open_file(source).read_all()
            continue
        group.append(pyarrow.parquet.ParquetFile(path).read())
        if (
            sum(table.num_rows for table in group) >= GROUP_ROWS
            or sum(table.nbytes for table in group) >= GROUP_BYTES
        ):
            yield pyarrow.concat_tables(group)
            group = []
    if group:
        yield pyarrow.concat_tables(group)


def _widened(schema: Any, chunk: Chunk, source: Path, first: int, pyarrow: Any) -> Any:
    """Return `schema` with the types that the rows of the chunk need.

    A column is of type null until it has a value, and of an integer type until it has a fraction.
    """
    try:
        return pyarrow.unify_schemas(
            [schema, _table(chunk.rows, None, pyarrow).schema], promote_options="permissive"
        )
    except (pyarrow.ArrowException, OverflowError, UnicodeEncodeError) as error:
        last = first + len(chunk.texts) - 1
        lines = row_lines(source, (first, last))
        raise InputError(
            f"{source}, rows {first} to {last} (lines {lines[first]} to {lines[last]}): values of several "
            f"types in a column ({error}); write to .jsonl, which accepts all types"
        ) from None


def _table(rows: list[dict[str, Any]], schema: Any, pyarrow: Any) -> Any:
    # Without a schema, Arrow takes the columns from the first row only.
    schema_or_names = {"schema": schema} if schema else {}
    rows = (
        [dict.fromkeys(name for row in rows for name in row) | rows[0], *rows[1:]]
        if rows and not schema
        else rows
    )
    try:
        return pyarrow.Table.from_pylist(rows, **schema_or_names)
    except UnicodeEncodeError:
        return pyarrow.Table.from_pylist(
            json.loads(without_surrogates(json.dumps(rows, ensure_ascii=False))), **schema_or_names
        )


def _typed(chunk: Chunk, answers: Mapping[str, Sequence[Any]], table: OutputTable) -> bytes:
    pyarrow = import_pyarrow(table.path)
    own = pyarrow.schema([table.schema.field(name) for name in table.names], table.schema.metadata)
    rows = (
        _table(chunk.rows, own, pyarrow)
        if isinstance(chunk.rows[0], dict)
        else pyarrow.Table.from_batches(chunk.rows).cast(own)
    )
    for name, values in answers.items():
        field = table.schema.field(name)
        rows = rows.append_column(field, [pyarrow.array(values, field.type)])
    buffer = io.BytesIO()
    try:
        if format_of(table.path) == ".parquet":
            pyarrow.parquet.write_table(rows, buffer)
        else:
            with pyarrow.ipc.new_file(buffer, rows.schema) as file:
                file.write_table(rows.combine_chunks())
    except pyarrow.ArrowException as error:
        raise InputError(
            f"{table.path} cannot contain a column of the input ({error}); write to another format"
        ) from None
    return buffer.getvalue()


def _check_plain(schema: Any, source: Path, output: Path) -> None:
    for field in schema:
        if re.search("binary|union|map", str(field.type)):
            raise InputError(
                f"{source}: column {excerpt(field.name)} has type {field.type}, which {output} cannot "
                "contain; write to .parquet"
            )


def row_dicts(chunk: Chunk) -> list[dict[str, Any]]:
    """Return the rows of a chunk as one dict per row. Times and dates become texts."""
    if not chunk.rows or isinstance(chunk.rows[0], dict):
        return chunk.rows
    import pyarrow

    columns = {}
    table = pyarrow.Table.from_batches(chunk.rows)
    for name, column in zip(table.column_names, table.columns, strict=True):
        # Without the cast, pyarrow needs pandas for nanoseconds.
        plain = pyarrow.int64() if pyarrow.types.is_duration(column.type) else pyarrow.string()
        columns[name] = (column.cast(plain) if pyarrow.types.is_temporal(column.type) else column).to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def json_line(record: Mapping[str, Any]) -> bytes:
    """Return a row as JSON. JSON has no NaN. It escapes lone surrogates, which UTF-8 has not."""
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
    try:
        return (json.dumps(plain, ensure_ascii=False, default=str) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(plain, default=str) + "\n").encode()
