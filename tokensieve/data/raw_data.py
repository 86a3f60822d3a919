"""Read the raw data of a project, a folder with one file per part.

There is a file of training texts, and there may be files of validation, test and out-of-scope
texts. They are parsed once. The result is stored as JSON Lines files, which the stages read.
"""

from __future__ import annotations

import logging
import operator
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tokensieve.cleaning import NONE
from tokensieve.data.examples import Examples
from tokensieve.data.label_cells import LabelCells
from tokensieve.data.table_formats import ENDINGS, FORMATS, TYPED, ending_of, format_of
from tokensieve.data.table_readers import read_rows
from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_folder, read_json_or_none, sha256, write_json
from tokensieve.settings import Data
from tokensieve.text_rule import join_columns

log = logging.getLogger("tokensieve")

PARTS = ("train", "validation", "test", "oos")  # oos: texts out of scope, which have no label
# The names of a part's file, also as data sets on the Hugging Face hub have it, in one piece.
NAMES = {
    "train": "train|training",
    "validation": "validation|valid|val|dev",
    "test": "test",
    "oos": "oos|out_of_scope",
}
PIECE = r"(?P<piece>-\d{5}-of-(?P<pieces>\d{5}))?"
KEY = "key.json"  # in the folder with the parsed files: the raw data that they come from
PARSER = 5  # to be raised if the same raw data are parsed differently from now on


@dataclass(frozen=True)
class RawData:
    """The parts of the raw data by name, and the errors of the parts that cannot be read."""

    parts: dict[str, Examples]
    errors: dict[str, InputError]

    def checked(self) -> dict[str, Examples]:
        """Return the parts.

        Raises:
            InputError: If there is an error in `errors`. The first one is raised.
        """
        for error in self.errors.values():
            raise error
        return self.parts


def find_part_files(folder: Path) -> dict[str, Path]:
    """Return the files of a data folder by the name of the part (`PARTS`).

    Their names are those in `NAMES`, in capitals or not.

    Raises:
        InputError: If the folder does not exist, if it has no train file, if it has two files for
            one part, or if a file is in several pieces.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; give a folder with a training file")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        part = _part_of(path)
        if part is None:
            continue
        if part in found:
            raise InputError(f"{folder} has both {found[part].name} and {path.name}; keep one")
        found[part] = path
    if "train" not in found:
        names = ", ".join(f"train{ending}" for ending in FORMATS)
        raise InputError(
            f"{folder} has no training file; put one of {names} there, and test.* if you have one"
        )
    return found


def _part_of(path: Path) -> str | None:
    """Return the part of which `path` is the file. None if it is another file.

    Raises:
        InputError: If it is one of several pieces of a file.
    """
    name, dot, ending = path.name.lower().partition(".")
    for part, names in NAMES.items():
        found = re.fullmatch(f"({names}){PIECE}", name)
        if found and dot + ending in ENDINGS:
            if found["piece"] and int(found["pieces"]) != 1:
                raise InputError(f"{path} is one of {int(found['pieces'])} pieces; join them in one file")
            return part
    return None


def read_raw_once(files: dict[str, Path], columns: Data, folder: Path) -> RawData:
    """Return the parts of the raw data, parsed now or by an earlier call.

    The parsed files are stored in `folder`, unless a file cannot be read. They are found again if
    the content of `files` and the settings of the columns are the same. `folder` may be deleted at
    any time.
    """
    text = columns.text_column if isinstance(columns.text_column, str) else list(columns.text_column)
    key = {
        "parser": PARSER,
        "columns": [text, columns.label_column, columns.label_separator, columns.encoding],
        "id": columns.id_column,
        "clean": columns.clean,
        "files": {
            part: [ending_of(path), sha256(path)] for part, path in sorted(files.items()) if path.exists()
        },
    }
    if read_json_or_none(folder / KEY) == key:
        return RawData({part: Examples.load(folder / f"{part}.jsonl") for part in files}, {})
    found = read_raw(files, columns)
    if not found.errors:
        with atomic_folder(folder) as temporary:
            for part, examples in found.parts.items():
                examples.save(temporary / f"{part}.jsonl")
            write_json(temporary / KEY, key)
    return found


def read_raw(files: dict[str, Path], columns: Data) -> RawData:
    """Parse the files of the raw data, given by part.

    If one part is multi-label, all parts are, except the out-of-scope texts.
    """
    found = RawData({}, {})
    for part, path in files.items():
        label = None if part == "oos" else columns.label_column
        try:
            own = read_examples(
                path, columns.text_columns, label, columns.label_separator, columns.codec, columns.id_column
            )
            found.parts[part] = _cleaned(own, columns)
        except InputError as error:
            found.errors[part] = error
    if any(examples.multi_label for examples in found.parts.values()):
        for part, examples in found.parts.items():
            found.parts[part] = replace(examples, multi_label=part != "oos")
    return found


def _cleaned(examples: Examples, columns: Data) -> Examples:
    """Return the examples with clean texts, and log what that costs. `Predictor` cleans as well."""
    if columns.clean == NONE:
        return examples
    began = time.perf_counter()
    texts = list(map(columns.text_rule.cleaned, examples.texts))
    cost = 1e6 * (time.perf_counter() - began) / max(1, len(texts))
    changed = sum(map(operator.ne, texts, examples.texts))
    log.info(
        "data.clean=%s: %d of %d texts changed, %.0f µs per text", columns.clean, changed, len(texts), cost
    )
    return replace(examples, texts=texts)


def read_examples(
    path: Path,
    text: str | Sequence[str] = "text",
    label: str | None = "label",
    separator: str | None = None,
    encoding: str | None = None,
    id: str | None = None,
    *,
    rows: Collection[int] | None = None,
    refuse_numbers: bool = True,
) -> Examples:
    """Return the examples in the table `path`, in any of the formats.

    Texts and labels are in the columns `text` and `label`. If `label` is None, there are no labels.
    With several columns `text`, their values are joined (`text_rule.join_columns`). Column `id`
    identifies rows. The file is multi-label with a `separator`, or if the label column has lists.
    With `rows`, only the rows with these numbers are read.

    A label is the text of its cell, without white space at its ends. In Parquet and Arrow, the
    float 3.0 is the label 3. With `refuse_numbers`, a column of fractions is refused if most rows
    have one of their own.

    Raises:
        InputError: If `read_rows` raises it, for numbers as above, or if only some rows have lists.
    """
    found = Examples()
    columns = [text] if isinstance(text, str) else list(text)
    labels, ids = [label] if label is not None else [], [id] if id is not None else []
    cells = LabelCells(separator, format_of(path) in TYPED, partial(found.place, -1))
    for number, line, values in read_rows(path, columns, labels, encoding, ids):
        if rows is not None and number not in rows:
            continue
        found.texts.append(join_columns(values[: len(columns)]) or "")
        found.rows.append(number)
        found.lines.extend([] if line is None else [line])
        found.ids.extend("" if cell is None else str(cell) for cell in values[len(values) - len(ids) :])
        found.labels.append(cells.names(None if label is None else values[len(columns)]))
    cells.check(path, label, len(found) if refuse_numbers else None)
    return replace(found, multi_label=cells.has_lists or None not in (separator, label))


def drop_unlabelled(examples: Examples, columns: Data, path: Path) -> tuple[Examples, int]:
    """Return the examples that have a label, and the number of rows without one that are dropped.

    Rows are dropped only if the setting is `data.unlabelled=drop`, and never from multi-label data,
    whose texts may have no label.

    Raises:
        InputError: If no row is left. The message names the file `path`.
    """
    if examples.multi_label or columns.unlabelled != "drop":
        return examples, 0
    kept = [i for i, names in enumerate(examples.labels) if names]
    if not kept:
        raise InputError(
            f"{path}: no row has a label; is column {excerpt(columns.label_column)} (data.label_column) the "
            "one with the labels?"
        )
    return examples.take(kept), len(examples) - len(kept)
