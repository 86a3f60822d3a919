"""Write a data file again with other labels, or without some of its rows. All else stays."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokensieve.data.table_formats import TYPED, ending_of, format_of, import_pyarrow
from tokensieve.data.text_tables import codec_of, read_lines, read_records
from tokensieve.errors import InputError, excerpt
from tokensieve.json_objects import WrittenNumber, read_object, with_value
from tokensieve.settings import Data

# A number in JSON. Python refuses to read thousands of digits.
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,999})(\.[0-9]+)?([eE][+-]?[0-9]+)?")

Answers = Mapping[int, tuple[str, ...] | None]
"""The labels of rows by their number from 1. None: the row is removed."""


def write_relabelled(source: Path, target: Path, answers: Answers, columns: Data) -> None:
    """Write the file `source` to `target`, with the labels of `answers` in the label column.

    Both have the same format. A text file is UTF-8, or if `columns` names an encoding in that of
    `source`. The separator of a CSV file is a comma. Several labels are joined as they are in
    `source`: by `columns.label_separator`, or in a list.

    Raises:
        InputError: If the encoding, or the type of an Arrow or Parquet column, cannot contain a
            label.
    """
    kind = format_of(source)
    if kind in TYPED:
        _write_typed(source, target, answers, columns)
        return
    written = relabelled_json_lines if kind == ".jsonl" else _records
    lines = written(source, answers, columns)
    encoding = codec_of(source, columns.codec) if columns.codec else "utf-8"
    compressed = ending_of(source).endswith(".gz")
    with gzip.open(target, "wb") if compressed else target.open("wb") as file:
        text = io.TextIOWrapper(file, encoding=encoding, newline="")
        try:
            text.writelines(lines)
        except UnicodeEncodeError as error:
            raise InputError(
                f"{source.name} is {encoding} (data.encoding), which has no "
                f"{excerpt(error.object[error.start])}; write another label, or save the data as UTF-8"
            ) from None
        finally:
            text.flush()
            text.detach()


def _records(source: Path, answers: Answers, columns: Data) -> Iterator[str]:
    place = 0
    for row, (_, record) in enumerate(read_records(source, read_lines(source, columns.codec))):
        cells = list(record)
        if row == 0:
            place = cells.index(columns.label_column)
        elif row in answers:
            labels = answers[row]
            if labels is None:
                continue
            cells[place] = _joined(labels, columns)
        yield _line(cells, "\t" if format_of(source) == ".tsv" else ",")


def _line(cells: Sequence[str], delimiter: str) -> str:
    output = io.StringIO()
    # The csv module of Python 3.11 writes a lone carriage return without quotes, and then cannot
    # read it.
    has_return = any("\r" in cell for cell in cells)
    writer = csv.writer(
        output,
        delimiter=delimiter,
        lineterminator="\n",
        quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL,
    )
    writer.writerow(cells)
    return output.getvalue()


def relabelled_json_lines(source: Path, answers: Answers, columns: Data) -> Iterator[str]:
    """Yield the lines of the JSON Lines file `source`, with the labels of `answers`.

    Only labels change: all other characters of a line are as they are written, such as 1.10 and
    blanks between keys.
    """
    row, listed = 0, _has_lists(source, columns)
    for line in read_lines(source, columns.codec):
        ended = line if line.endswith("\n") else f"{line}\n"
        is_row = bool(line.strip())
        row += is_row
        if not is_row or row not in answers:
            yield ended
        elif (labels := answers[row]) is not None:
            before = read_object(line)[columns.label_column]
            yield with_value(ended, columns.label_column, _json_label(before, labels, columns, listed))


def _has_lists(source: Path, columns: Data) -> bool:
    """Return whether labels are lists. The first one decides: they are all lists, or none is."""
    lines = (line for line in read_lines(source, columns.codec) if line.strip())
    labels = (read_object(line)[columns.label_column] for line in lines)
    return isinstance(next((label for label in labels if label not in (None, "")), None), list)


def _json_label(before: Any, labels: tuple[str, ...], columns: Data, listed: bool) -> str:
    """Return the labels as JSON like the value before: a list, a number or a string."""
    if isinstance(before, list) or (listed and columns.label_separator is None):
        return f"[{', '.join(_json_name(label, before or []) for label in labels)}]"
    return _json_name(_joined(labels, columns), [before])


def _json_name(name: str, before: Sequence[Any]) -> str:
    numbers = [isinstance(value, int | WrittenNumber) and not isinstance(value, bool) for value in before]
    is_number = numbers and all(numbers) and name != "-0" and NUMBER.fullmatch(name)
    return name if is_number else json.dumps(name, ensure_ascii=False)


def _write_typed(source: Path, target: Path, answers: Answers, columns: Data) -> None:
    pyarrow = import_pyarrow(source)
    is_parquet = format_of(source) == ".parquet"
    table = (
        pyarrow.parquet.read_table(source)
        if is_parquet
        else pyarrow.ipc.open_file(pyarrow.memory_map(str(source))).read_all()
    )
    place = table.schema.get_field_index(columns.label_column)
    field = table.schema.field(place)
    values = table.column(place).to_pylist()
    for row, labels in answers.items():
        if labels is not None:
            values[row - 1] = _typed_label(labels, field.type, columns, pyarrow, source)
    plain = field.type.value_type if pyarrow.types.is_dictionary(field.type) else field.type
    column = pyarrow.array(values, plain)
    if plain != field.type:
        column = column.dictionary_encode().cast(field.type)
    table = table.set_column(place, field, column)
    removed = {row - 1 for row, labels in answers.items() if labels is None}
    table = table.take([row for row in range(table.num_rows) if row not in removed]) if removed else table
    if is_parquet:
        pyarrow.parquet.write_table(table, target)
        return
    with pyarrow.ipc.new_file(target, table.schema) as file:
        file.write_table(table)


def _typed_label(labels: tuple[str, ...], kind: Any, columns: Data, pyarrow: Any, source: Path) -> Any:
    types = pyarrow.types
    if types.is_list(kind) or types.is_large_list(kind):
        return [_typed_label((label,), kind.value_type, columns, pyarrow, source) for label in labels]
    joined = _joined(labels, columns)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        return joined
    if not joined.isdecimal():
        raise InputError(
            f"{source.name}: column {excerpt(columns.label_column)} has type {kind}, which cannot contain "
            f"label {excerpt(joined)}; use a whole number, or make it a column of strings"
        )
    return int(joined)


def _joined(labels: tuple[str, ...], columns: Data) -> str:
    return (columns.label_separator or "|").join(labels)
