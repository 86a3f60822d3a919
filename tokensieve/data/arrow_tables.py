"""Read record batches of Parquet and Arrow files, and check the types of their columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokensieve.data.table_formats import format_of
from tokensieve.errors import InputError


def record_batches(
    path: Path, rows: int, pyarrow: Any, columns: list[str] | None = None
) -> tuple[Any, Iterator[Any]]:
    """Return the schema and the record batches of a Parquet or Arrow file.

    Parquet batches have `rows` rows and the given columns, or all columns if `columns` is None.
    Arrow batches are those of the file, with all columns. An Arrow file has the file format or the
    stream format, and is mapped into memory.

    Raises:
        ArrowException, OSError: If the file is damaged or of another format, also while the batches
            are read.
    """
    if format_of(path) == ".parquet":
        file = pyarrow.parquet.ParquetFile(path, buffer_size=2**20)
        return file.schema_arrow, file.iter_batches(rows, columns=columns)
    source = pyarrow.memory_map(str(path))
    try:
        whole = pyarrow.ipc.open_file(source)
        return whole.schema, (_validated(whole.get_batch(i)) for i in range(whole.num_record_batches))
    except pyarrow.ArrowInvalid:
        source.seek(0)
        stream = pyarrow.ipc.open_stream(source)
        return stream.schema, map(_validated, stream)


def _validated(batch: Any) -> Any:
    """Return `batch` if it is not damaged. A wrong offset in a mapped file would end the process.

    Raises:
        ArrowInvalid: If it is damaged.
    """
    batch.validate(full=True)
    return batch


def is_text(kind: Any, pyarrow: Any) -> bool:
    """Return whether a column of the Arrow type `kind` may have the texts."""
    kind = kind.value_type if isinstance(kind, pyarrow.DictionaryType) else kind
    return kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view())


def is_label(kind: Any, pyarrow: Any, inside: bool = False) -> bool:
    """Return whether a column of the Arrow type `kind` may have labels, or lists of labels.

    With `inside`, `kind` is the type of the items of a list.
    """
    types = pyarrow.types
    if isinstance(kind, pyarrow.DictionaryType):
        return is_label(kind.value_type, pyarrow, inside)
    if not inside and (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return is_label(kind.value_type, pyarrow, inside=True)
    others = (types.is_integer, types.is_boolean, types.is_floating, types.is_decimal, types.is_null)
    return is_text(kind, pyarrow) or any(fits(kind) for fits in others)


def damaged(path: Path, row: int, error: Exception) -> InputError:
    """Return the error to raise if the file `path` cannot be read after row `row`."""
    kind, reason = format_of(path)[1:].capitalize(), str(error).splitlines()[0]
    return InputError(
        f"{path} is no {kind} file, or a damaged one, after row {row} ({reason}); write it again"
    )
