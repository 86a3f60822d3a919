"""Labelled texts: read from CSV, TSV, JSONL, Parquet or Arrow, kept between stages as JSONL.

Files are refused with the row at fault named; rows are numbered from 1, the header not counted.
What is wrong with the texts themselves is `quality.py`'s business.
"""

from __future__ import annotations

import csv
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tokensieve.data.labels import joined, names_of
from tokensieve.errors import InputError, excerpt
from tokensieve.settings import FORMAT_NAMES, Data

FORMATS = tuple(f".{name}" for name in FORMAT_NAMES)
TYPED = (".parquet", ".arrow")
BATCH = 4096  # rows that are made Python's objects at a time
PARTS = ("train", "validation", "test", "oos")

# What the csv module says, and what it means to a person.
FAULTS = {
    "unexpected end of data": "a quote is opened and never closed; double the quotes inside a quoted text",
    "new-line character": "a carriage return stands alone; end lines with LF or CRLF, and put quotes around a text of several lines",
}

# JSON can spell it (\ud800), UTF-8 cannot; a pair of them is one character by the time it is read.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Examples:
    """Texts with their labels and the row each stood in (1 is the first below the header).

    `labels` is empty for texts without labels (out of scope). Where a text may have several labels, or none, its label is the
    string that `labels.joined` makes of them.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> Examples:
        """The examples at `indices`, in that order."""
        labels = [self.labels[i] for i in indices] if self.labels else []
        return Examples([self.texts[i] for i in indices], labels, [self.rows[i] for i in indices])

    def save(self, path: Path) -> None:
        """Write as JSONL, beside and then renamed."""
        beside = path.with_suffix(".tmp")
        with beside.open("w", encoding="utf-8") as file:
            for i, text in enumerate(self.texts):
                row = {"row": self.rows[i], "text": text} | ({"label": self.labels[i]} if self.labels else {})
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Examples:
        """What `save` wrote."""
        texts, labels, rows = [], [], []
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                texts.append(row["text"])
                rows.append(row["row"])
                if "label" in row:
                    labels.append(row["label"])
        return cls(texts, labels, rows)


def part_files(folder: Path) -> dict[str, Path]:
    """The files of a data folder by part: train, and where they are there, validation, test and oos (out of scope).

    Raises:
        InputError: no train file, or two files for one part.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; give a folder with a training file")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in FORMATS and path.stem in PARTS:
            if path.stem in found:
                raise InputError(f"{folder} holds both {found[path.stem].name} and {path.name}; keep one")
            found[path.stem] = path
    if "train" not in found:
        names = ", ".join(f"train{suffix}" for suffix in FORMATS)
        raise InputError(
            f"{folder} holds no training file; put one of {names} there, and test.* if the test is given"
        )
    return found


def read_examples(
    path: Path, text: str = "text", label: str | None = "label", separator: str | None = None
) -> Examples:
    """Read a file of labelled texts; with `label` None, of texts alone; with `separator`, of texts with any number of labels.

    Labels keep their spelling; whole numbers are taken as names, empty labels stay empty. Parquet and Arrow tell texts from numbers,
    so there a text is a name whatever it looks like, and 3.0, as a whole number beside an absent one is written, is 3.

    Raises:
        InputError: as `rows`, or labels that are fractions.
    """
    typed = path.suffix.lower() in TYPED
    found = Examples()
    for number, values in rows(path, [text] if label is None else [text, label]):
        found.texts.append("" if values[0] is None else str(values[0]))
        found.rows.append(number)
        if label is not None:
            found.labels.append(_label(path, number, label, values[1], typed, separator))
    return found


def read_part(path: Path, part: str, settings: Data) -> tuple[Examples, int]:
    """Read the file of a part. Return its examples, and how many rows were left out for want of a label (`data.unlabelled`).

    Raises:
        InputError: As `read_examples`, or if no row is left.
    """
    examples = read_examples(
        path, settings.text_column, None if part == "oos" else settings.label_column, settings.label_separator
    )
    if part == "oos" or settings.label_separator is not None or settings.unlabelled != "drop":
        return examples, 0
    kept = [i for i, label in enumerate(examples.labels) if label]
    if not kept:
        raise InputError(
            f"{path}: no row has a label; is column '{settings.label_column}' (data.label_column) the one with the labels?"
        )
    return examples.take(kept), len(examples) - len(kept)


def rows(path: Path, columns: list[str]) -> Iterator[tuple[int, list[object]]]:
    """The rows of a file one by one, from 1, with their values in `columns`, of which the first holds texts.

    A few thousand rows at most are in memory at a time.

    Raises:
        InputError: missing or empty file, unknown format, a column that is not there, a row that cannot be read.
    """
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give a {', '.join(FORMATS)} file or a folder with train and test files"
        )
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path} has the ending {excerpt(suffix)}; allowed: {', '.join(FORMATS)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; it needs a header and at least one row")
    reader = {".csv": _delimited, ".tsv": _delimited, ".jsonl": _jsonl, ".parquet": _typed, ".arrow": _typed}[
        suffix
    ]
    number = 0
    for number, values in reader(path, columns):
        yield number, values
    if not number:
        raise InputError(f"{path} holds a header and no row; it needs at least one")


def _label(path: Path, row: int, column: str, value: object, typed: bool, separator: str | None) -> str:
    if separator is not None:
        parts = names_of(value, separator) if isinstance(value, str) else [value]
        return joined({_label(path, row, column, part, typed, None) for part in parts} - {""}, separator)
    if value is None or (isinstance(value, (float, Decimal)) and math.isnan(value)):
        return ""
    if typed and isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, (float, Decimal)) or (not typed and isinstance(value, str) and _is_fraction(value)):
        raise InputError(
            f"{path}, row {row}: label {excerpt(value)} in column '{column}' is a fraction; "
            "labels are names or whole numbers: name the right column with --set data.label_column=COLUMN"
        )
    return "" if is_blank(str(value)) else str(value).strip()


def is_blank(text: str) -> bool:
    """Return whether nothing can be seen of a text: white space, zero-width characters and the like."""
    return all(char.isspace() or unicodedata.category(char) == "Cf" for char in text)


def _is_fraction(text: str) -> bool:
    try:
        if not math.isfinite(float(text)):
            return False
    except ValueError:
        return False
    try:
        int(text)
    except ValueError:
        return True
    return False


def _columns(path: Path, header: Sequence[str], wanted: list[str]) -> list[int]:
    for column in wanted:
        if column not in header:
            setting = "data.text_column" if column == wanted[0] else "data.label_column"
            shown = ", ".join(excerpt(name, 40) for name in header[:20])
            alike = (
                name
                for name in header
                if name.strip().casefold() == column.strip().casefold() and name.isprintable()
            )
            close = next(alike, None)
            remedy = (
                f"name the right one with --set {setting}=COLUMN"
                if close is None
                else f'write --set "{setting}={close}"'
            )
            raise InputError(f"{path} has no column '{column}'; it has {shown}: {remedy}")
        if header.count(column) > 1:
            raise InputError(f"{path} has {header.count(column)} columns '{column}'; rename all but one")
    return [list(header).index(column) for column in wanted]


def _delimited(path: Path, wanted: list[str]) -> Iterator[tuple[int, list[object]]]:
    csv.field_size_limit(2**31 - 1)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    number = start = 0
    with path.open("rb") as raw:
        reader = csv.reader(_lines(path, raw), delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
            places = _columns(path, header, wanted)
            start = reader.line_num
            for record in reader:
                if not record:
                    start = reader.line_num
                    continue
                number += 1
                if len(record) != len(header):
                    raise InputError(
                        f"{path}, row {number} (line {start + 1}) has {len(record)} columns, the header {len(header)}; "
                        "put quotes around a text that holds the separator"
                    )
                yield number, [record[place] for place in places]
                start = reader.line_num
        except csv.Error as error:
            known = (fault for sign, fault in FAULTS.items() if sign in str(error))
            fault = next(known, f"{error}; double the quotes inside a quoted text")
            raise InputError(f"{path}, row {number + 1} (from line {start + 1}): {fault}") from None


def _lines(path: Path, raw: Iterator[bytes]) -> Iterator[str]:
    for number, line in enumerate(raw, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, line {number}: byte 0x{line[error.start]:02x} at column {error.start + 1} is not UTF-8; "
                "save the file as UTF-8 (it may be Latin-1: iconv -f latin1 -t utf-8)"
            ) from None
        if "\0" in text:
            raise InputError(
                f"{path}, line {number}: a NUL byte at column {text.index(chr(0)) + 1}; remove it (tr -d '\\0')"
            )
        yield text


def _jsonl(path: Path, wanted: list[str]) -> Iterator[tuple[int, list[object]]]:
    with path.open("rb") as raw:
        number = 0
        for line in _lines(path, raw):
            if not line.strip():
                continue
            number += 1
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(
                    f"{path}, row {number}: not JSON ({error.msg} at column {error.colno}); one object a line"
                ) from None
            except (
                ValueError,
                RecursionError,
            ) as error:  # a number of thousands of digits, thousands of brackets
                raise InputError(
                    f"{path}, row {number}: JSON that cannot be read ({error}); one flat object a line"
                ) from None
            if not isinstance(row, dict):
                raise InputError(
                    f"{path}, row {number}: holds {excerpt(row)}; one object a line, with keys {', '.join(wanted)}"
                )
            places = _columns(path, list(row), wanted)
            for column, value in zip(wanted, (list(row.values())[place] for place in places), strict=True):
                if isinstance(value, (dict, list)) or (
                    column == wanted[0] and not isinstance(value, (str, type(None)))
                ):
                    raise InputError(f"{path}, row {number}: '{column}' holds {excerpt(value)}; give a text")
                lone = LONE_SURROGATE.search(value) if isinstance(value, str) else None
                if lone:
                    raise InputError(
                        f"{path}, row {number}: '{column}' holds {lone[0]!a}, half of a character; remove it"
                    )
            yield number, [row[column] for column in wanted]


def _typed(path: Path, wanted: list[str]) -> Iterator[tuple[int, list[object]]]:
    import pyarrow

    number = 0
    try:
        schema, batches = record_batches(path, BATCH, wanted)
        _columns(path, schema.names, wanted)
        if not _is_text(schema.field(wanted[0]).type):
            raise InputError(f"{path}: column '{wanted[0]}' holds {schema.field(wanted[0]).type}; give texts")
        for column in wanted[1:]:
            if not _is_label(schema.field(column).type):
                raise InputError(
                    f"{path}: column '{column}' holds {schema.field(column).type}; give names or whole numbers"
                )
        for batch in batches:
            # A batch may be the whole file: as Arrow it is mapped, as Python's objects it is not.
            for start in range(0, batch.num_rows, BATCH):
                part = batch.slice(start, BATCH)
                for values in zip(*(part.column(column).to_pylist() for column in wanted), strict=True):
                    number += 1
                    yield number, list(values)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason, kind = str(error).splitlines()[0], path.suffix.lower()[1:].capitalize()
        raise InputError(
            f"{path} is no {kind} file, or a damaged one, after row {number} ({reason}); write it again"
        ) from None


def record_batches(path: Path, size: int, columns: list[str] | None = None) -> tuple[Any, Iterator[Any]]:
    """The schema and the record batches of a Parquet file, `size` rows each with `columns` (None: all), or of an Arrow file in either
    of its formats, as they stand."""
    import pyarrow.parquet

    if path.suffix.lower() == ".parquet":
        file = pyarrow.parquet.ParquetFile(path, buffer_size=2**20)
        return file.schema_arrow, file.iter_batches(size, columns=columns)
    source = pyarrow.memory_map(str(path))
    try:
        whole = pyarrow.ipc.open_file(source)
        return whole.schema, (_sound(whole.get_batch(i)) for i in range(whole.num_record_batches))
    except pyarrow.ArrowInvalid:
        source.seek(0)
        stream = pyarrow.ipc.open_stream(source)
        return stream.schema, map(_sound, stream)


def _sound(batch: Any) -> Any:
    """`batch`, unless it is damaged: Arrow reads what is mapped as it stands, and a wrong offset ends the process."""
    batch.validate(full=True)
    return batch


def _is_text(kind: object) -> bool:
    import pyarrow

    if isinstance(kind, pyarrow.DictionaryType):
        kind = kind.value_type
    return bool(
        pyarrow.types.is_string(kind)
        or pyarrow.types.is_large_string(kind)
        or pyarrow.types.is_string_view(kind)
    )


def _is_label(kind: object) -> bool:
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.DictionaryType):
        return _is_label(kind.value_type)
    others = (types.is_integer, types.is_boolean, types.is_floating, types.is_decimal, types.is_null)
    return _is_text(kind) or any(fits(kind) for fits in others)
