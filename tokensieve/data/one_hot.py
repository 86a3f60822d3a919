"""Recognize labels as columns of 0 and 1, which are to be written as names in one column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tokensieve.errors import InputError, excerpt

FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
NAMED = 5  # columns that a message names


def refuse_one_hot(path: Path, rows: Sequence[Mapping[str, object]], label: str) -> None:
    """Check that a table without the column `label` has not one column of 0 and 1 per label.

    `rows` are some of its rows.

    Raises:
        InputError: If at least two columns have only 0 and 1, and each of them has a 1.
    """
    flags = [
        name
        for name in (rows[0] if rows else ())
        if all(str(row.get(name)).lower() in FLAGS for row in rows)
        and any(FLAGS[str(row[name]).lower()] for row in rows)
    ]
    if label in flags or len(flags) < 2:
        return
    shown = ", ".join(excerpt(name, 40) for name in flags[:NAMED])
    more = f" and {len(flags) - NAMED:,} more" if len(flags) > NAMED else ""
    raise InputError(
        f"{path} has no column {excerpt(label)}, but columns of 0 and 1: {shown}{more}. If they are labels, "
        "write the names of those with 1 into one column, joined by |, and add --set "
        f"data.label_separator='|'. In pandas: table[{label!r}] = table[names].apply("
        "lambda row: '|'.join(row.index[row == 1]), axis=1). If not, name the label column with --set "
        "data.label_column=COLUMN"
    )
