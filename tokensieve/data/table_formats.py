"""The file formats of tables: their endings, and the check for required columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError, excerpt
from tokensieve.settings import FORMAT_NAMES

FORMATS = tuple(f".{name}" for name in FORMAT_NAMES)
TYPED = (".parquet", ".arrow")
# The allowed endings of file names, and the format of each.
ENDINGS = {
    **{ending: ending for ending in FORMATS},
    ".ndjson": ".jsonl",
    **{f"{ending}.gz": ending for ending in FORMATS if ending not in TYPED},
    ".ndjson.gz": ".jsonl",
}

# The required columns. Each has the option that names another column: the flag, and its value with
# COLUMN in place of the name.
Wanted = Mapping[str, tuple[str, str]]
ONE_TEXT = ("--set", "data.text_column=COLUMN")  # the option of a single column with texts

WORDS = 3  # of a cell that is a text rather than a label, a name or a date
MOST_COLUMNS = 3  # that a message suggests as a list


def ending_of(path: Path) -> str:
    """Return the ending of a file name in lower case, for example `.csv` or `.jsonl.gz`.

    Raises:
        InputError: If it is not the ending of a known format.
    """
    name = path.name.lower()
    found = next((ending for ending in sorted(ENDINGS, key=len, reverse=True) if name.endswith(ending)), None)
    if found is None:
        raise InputError(
            f"{path} has the ending {excerpt(path.suffix)}; allowed: {', '.join(FORMATS)}, "
            "also .ndjson, and .gz after the ending of a text format"
        )
    return found


def format_of(path: Path) -> str:
    """Return the format of a file by its name, one of `FORMATS`.

    Raises:
        InputError: If the ending is not that of a known format.
    """
    return ENDINGS[ending_of(path)]


def import_pyarrow(path: Path) -> Any:
    """Return the module pyarrow, which may be missing in an installation for serving.

    Raises:
        InputError: If it is not installed. The message names `path`, the file that needs it.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        others = ", ".join(ending for ending in FORMATS if ending not in TYPED)
        raise InputError(
            f"{path} needs pyarrow, which is not installed; pip install pyarrow, or give {others}"
        ) from None
    return pyarrow


def check_columns(
    path: Path | str, header: Sequence[str], wanted: Wanted, first: Sequence[Mapping[str, object]] = ()
) -> None:
    """Check that a table has each required column exactly once.

    If the column of the texts is missing and the rows `first` have several columns with texts, the
    message names them as a list.

    Raises:
        InputError: If a column is missing or repeated. The message names `path`.
    """
    missing = [column for column in wanted if column not in header]
    if missing:
        _refuse_other_separator(path, header)
    if len(missing) > 1 and not {name.strip().casefold() for name in header} & set(missing):
        shown = ", ".join(excerpt(name, 40) for name in header[:20]) or "none"
        raise InputError(
            f"{path} has no columns {' and '.join(map(excerpt, missing))}; it has {shown}: name the right "
            f"ones with {_options(wanted, missing)}{_as_list(wanted, missing, first)}; if this is a row and "
            "no header, write a header above it"
        )
    for column, (flag, value) in wanted.items():
        if column not in header:
            shown = ", ".join(excerpt(name, 40) for name in header[:20]) or "none"
            close, assignments = _corrections(header, wanted, missing)
            remedy = f"name the right one with {_option(flag, value)}{_as_list(wanted, [column], first)}"
            if column in close:
                remedy = f"write {assignments}"
            named = close if column in close else [column]
            columns = "column" if len(named) == 1 else "columns"
            raise InputError(
                f"{path} has no {columns} {' and '.join(map(excerpt, named))}; it has {shown}: {remedy}"
            )
        if header.count(column) > 1:
            raise InputError(
                f"{path} has {header.count(column)} columns {excerpt(column)}; rename all but one"
            )


def _refuse_other_separator(path: Path | str, header: Sequence[str]) -> None:
    """Raise InputError if a TSV file has one column, with separators of a CSV file in its name."""
    if len(header) != 1 or not str(path).lower().endswith((".tsv", ".tsv.gz")):
        return
    for separator, name in ((",", "commas"), (";", "semicolons"), ("|", "vertical bars")):
        if separator in header[0]:
            raise InputError(
                f"{path} has one column, {excerpt(header[0])}: it is separated by {name}; rename it, "
                "with .csv in place of .tsv"
            )


def _corrections(header: Sequence[str], wanted: Wanted, missing: Sequence[str]) -> tuple[list[str], str]:
    """Return the missing columns that a table has in another case or with blanks, and the options.

    An option with a list of columns needs all of them.
    """
    close = {}
    for column in missing:
        same = (name for name in header if name.strip().casefold() == column.strip().casefold())
        if (found := next(filter(str.isprintable, same), None)) is not None:
            close[column] = found
    corrected: list[str] = []
    options: dict[str, list[str]] = {}
    for flag, value in dict.fromkeys(wanted[column] for column in close):
        group = [column for column in wanted if wanted[column] == (flag, value)]
        if value.count("COLUMN") == 1:
            own = [column for column in group if column in close]
            values = [value.replace("COLUMN", close[column]) for column in own]
        elif all(column in header or column in close for column in group):
            own = [column for column in group if column in close]
            start, end = value.partition("[")[0], value.rpartition("]")[2]
            values = [f"{start}[{', '.join(close.get(column, column) for column in group)}]{end}"]
        else:
            continue
        corrected += own
        options.setdefault(flag, []).extend(f'"{given}"' for given in values)
    between = {flag: " " if flag == "--set" else f" {flag} " for flag in options}
    return corrected, " ".join(f"{flag} {between[flag].join(values)}" for flag, values in options.items())


def _as_list(wanted: Wanted, missing: Sequence[str], first: Sequence[Mapping[str, object]]) -> str:
    """Return how several columns of texts are named. Empty: the rows have less than two of them."""
    found = [name for name in first[0] if _has_texts([row.get(name) for row in first])] if first else []
    if len(found) < 2 or ONE_TEXT not in {wanted[column] for column in missing}:
        return ""
    names = ", ".join(found[:MOST_COLUMNS])
    return f', or for texts in several columns, which are read as one: "data.text_column=[{names}]"'


def _has_texts(cells: Sequence[object]) -> bool:
    """Return whether more than half of the cells have several words."""
    texts = [cell for cell in cells if isinstance(cell, str) and len(cell.split()) >= WORDS]
    return len(texts) > len(cells) / 2


def _options(wanted: Wanted, columns: Sequence[str]) -> str:
    """Return the options that name other columns, each flag once."""
    flags = dict.fromkeys(wanted[column][0] for column in columns)
    return " ".join(
        _option(flag, *dict.fromkeys(wanted[column][1] for column in columns if wanted[column][0] == flag))
        for flag in flags
    )


def _option(flag: str, *values: str) -> str:
    return " ".join([flag, *(f'"{value}"' if "[" in value else value for value in values)])
