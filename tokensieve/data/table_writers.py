"""Answers beside the rows they belong to, as small files in the format of the output, and the output made of them.

A part of a CSV or TSV file has no header. Rows from a typed file stay Arrow's where the output is typed as well.
"""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokensieve.data.examples import TYPED
from tokensieve.data.table_readers import Chunk, pyarrow_for, read, suffix
from tokensieve.errors import InputError, excerpt

GROUP = 65_536  # rows of a Parquet row group, at least, unless they are large
GROUP_BYTES = 2**27

# What each column of answers is to Arrow.
KINDS: dict[str, Callable[[Any], Any]] = {
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
class Form:
    """What an output looks like: its path, the columns of the input, those of the answers with what each is of `KINDS`, and if it is
    typed, Arrow's schema.

    `total`: the rows it will have.
    """

    path: Path
    names: tuple[str, ...]
    answers: Mapping[str, str]
    schema: Any
    total: int


def form(
    source: Path, text: str, output: Path, answers: Mapping[str, str], seen: Callable[[int], object]
) -> Form:
    """What `output` will look like, found by reading all of `source`; `seen` is told of the rows as they are read.

    Rows that cannot be read are so found before hours are spent on those above them.

    Raises:
        InputError: as `chunks.read`, or a column of the input that has the name of an answer, or what the output's format cannot hold.
    """
    typed = suffix(output) in TYPED
    pyarrow = pyarrow_for(output) if typed else None
    header, chunks = read(source, text)
    schemas = suffix(source) in TYPED
    names: dict[str, None] = dict.fromkeys(header.names if schemas else header)
    schema: Any = (
        header
        if schemas
        else pyarrow.schema([(name, pyarrow.string()) for name in names])
        if pyarrow
        else None
    )
    total = 0
    for chunk in chunks:
        if suffix(source) == ".jsonl":
            for row in chunk.rows:
                names.update(dict.fromkeys(row))
            if pyarrow:
                schema = _widened(schema, chunk, source, total + 1, pyarrow)
        total += len(chunk.texts)
        seen(len(chunk.texts))
    for name in answers:
        if name in names:
            raise InputError(
                f"{source} has a column '{name}', and so have the answers; name theirs with --answer-prefix PREFIX, or rename it"
            )
    broken = next((name for name in names if not name.isascii() and _utf8(name) != name), None)
    if broken is not None and suffix(output) != ".jsonl":
        raise InputError(
            f"{source} has a key {broken!a}, which is not Unicode; rename it, or write to .jsonl"
        )
    if schemas and not typed:
        _check_plain(header, source, output)
    if pyarrow:
        kinds = {name: schema.field(name).type for name in names}
        if suffix(output) == ".arrow":  # an Arrow file has one dictionary a column, and each chunk its own
            kinds = {
                name: kind.value_type if isinstance(kind, pyarrow.DictionaryType) else kind
                for name, kind in kinds.items()
            }
        kinds |= {name: KINDS[kind](pyarrow) for name, kind in answers.items()}
        schema = pyarrow.schema(kinds.items(), schema.metadata)
    return Form(output, tuple(names), answers, schema, total)


def part(chunk: Chunk, answers: Mapping[str, Sequence[Any]], made: Form) -> bytes:
    """The content of the file with the rows of a chunk and their answers, a list a column.

    Raises:
        InputError: a value that the format cannot hold.
    """
    ending = suffix(made.path)
    if ending in TYPED:
        return _typed(chunk, answers, made)
    records = [
        row | dict(zip(answers, values, strict=True))
        for row, *values in zip(_dicts(chunk), *answers.values(), strict=True)
    ]
    if ending == ".jsonl":
        return b"".join(map(_line, records))
    joined = [name for name, kind in made.answers.items() if kind in ("labels", "probabilities")]
    for record in records:
        for name in joined:
            record[name] = None if record[name] is None else "|".join(map(str, record[name]))
    return _delimited(
        ([_cell(record.get(name)) for name in (*made.names, *made.answers)] for record in records), ending
    )


def assemble(parts: Iterable[Path], made: Form, path: Path) -> None:
    """Write all `parts`, in their order, as one file at `path`, which may have any name."""
    ending = suffix(made.path)
    if ending in TYPED:
        pyarrow = pyarrow_for(made.path)
        writer = pyarrow.parquet.ParquetWriter if ending == ".parquet" else pyarrow.ipc.new_file
        with writer(path, made.schema) as file:
            for table in _tables(parts, ending, pyarrow):
                file.write_table(table)
        return
    with path.open("wb") as file:
        if ending != ".jsonl":
            file.write(_delimited([[*made.names, *made.answers]], ending))
        for one in parts:
            with one.open("rb") as rows:
                shutil.copyfileobj(rows, file)


def _tables(parts: Iterable[Path], ending: str, pyarrow: Any) -> Iterator[Any]:
    held: list[Any] = []
    for path in parts:
        if ending == ".arrow":
            with pyarrow.memory_map(str(path)) as source:
                yield pyarrow.ipc.open_file(source).read_all()
            continue
        held.append(pyarrow.parquet.ParquetFile(path).read())
        if (
            sum(table.num_rows for table in held) >= GROUP
            or sum(table.nbytes for table in held) >= GROUP_BYTES
        ):
            yield pyarrow.concat_tables(held)
            held = []
    if held:
        yield pyarrow.concat_tables(held)


def _widened(schema: Any, chunk: Chunk, source: Path, first: int, pyarrow: Any) -> Any:
    """`schema`, with what the chunk's rows need: a column is an integer until there is a fraction, and null until there is a value."""
    try:
        return pyarrow.unify_schemas(
            [schema, _table(chunk.rows, None, pyarrow).schema], promote_options="permissive"
        )
    except (pyarrow.ArrowException, OverflowError, UnicodeEncodeError) as error:
        where = f"{source}, rows {first} to {first + len(chunk.texts) - 1}"
        raise InputError(
            f"{where}: values of several types in a column ({error}); write to .jsonl, which holds any"
        ) from None


def _table(rows: list[dict[str, Any]], schema: Any, pyarrow: Any) -> Any:
    # Arrow takes the columns from the first row unless it is told.
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
            json.loads(_utf8(json.dumps(rows, ensure_ascii=False))), **schema_or_names
        )


def _typed(chunk: Chunk, answers: Mapping[str, Sequence[Any]], made: Form) -> bytes:
    pyarrow = pyarrow_for(made.path)
    own = pyarrow.schema([made.schema.field(name) for name in made.names], made.schema.metadata)
    table = (
        _table(chunk.rows, own, pyarrow)
        if isinstance(chunk.rows[0], dict)
        else pyarrow.Table.from_batches(chunk.rows).cast(own)
    )
    for name, values in answers.items():
        table = table.append_column(
            made.schema.field(name), [pyarrow.array(values, made.schema.field(name).type)]
        )
    buffer = io.BytesIO()
    try:
        if suffix(made.path) == ".parquet":
            pyarrow.parquet.write_table(table, buffer)
        else:
            with pyarrow.ipc.new_file(buffer, table.schema) as file:
                file.write_table(table.combine_chunks())
    except pyarrow.ArrowException as error:
        raise InputError(
            f"{made.path} cannot hold a column of the input ({error}); write to another format"
        ) from None
    return buffer.getvalue()


def _check_plain(schema: Any, source: Path, output: Path) -> None:
    for field in schema:
        if re.search("binary|union|map", str(field.type)):
            raise InputError(
                f"{source}: column {excerpt(field.name)} holds {field.type}, which {output} cannot; write to .parquet"
            )


def _dicts(chunk: Chunk) -> list[dict[str, Any]]:
    if not chunk.rows or isinstance(chunk.rows[0], dict):
        return chunk.rows
    import pyarrow

    columns = {}
    table = pyarrow.Table.from_batches(chunk.rows)
    for name, column in zip(table.column_names, table.columns, strict=True):
        # As Python's objects, nanoseconds would need pandas.
        plain = pyarrow.int64() if pyarrow.types.is_duration(column.type) else pyarrow.string()
        columns[name] = (column.cast(plain) if pyarrow.types.is_temporal(column.type) else column).to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _line(record: Mapping[str, Any]) -> bytes:
    # NaN is no JSON, and half a surrogate pair no UTF-8, though JSON can spell it.
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
    try:
        return (json.dumps(plain, ensure_ascii=False, default=str) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(plain, default=str) + "\n").encode()


def _delimited(rows: Iterable[Sequence[str]], ending: str) -> bytes:
    # Python 3.11's writer leaves a carriage return alone without quotes, where its reader stops.
    separator = "\t" if ending == ".tsv" else ","
    quoted = re.compile(f'["\r\n{separator}]')
    cells = (
        (f'"{cell.replace(chr(34), chr(34) * 2)}"' if quoted.search(cell) else cell for cell in row)
        for row in rows
    )
    return _utf8("".join(separator.join(row) + "\n" for row in cells)).encode()


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _utf8(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
