"""review.csv: the rows to look at, with an empty column for the right label.

It is for spreadsheets: UTF-8 with a byte order mark, and no cell is a formula. A cell that begins
as one gets an apostrophe before it, which is taken off when the answers are read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.auditing.audited_texts import JOINT, AuditedTexts
from tasks.auditing.review_rows import ReviewRow
from tokensieve.data.encodings import likely_encoding, marked_encoding
from tokensieve.data.safe_cells import plain_cell, safe_cell
from tokensieve.errors import InputError
from tokensieve.files import write_text
from tokensieve.settings import Settings

REMOVE = "(remove)"  # the answer for a row that is to be removed
COLUMNS = (
    "file",
    "row",
    "line",
    "part",
    "label",
    "suggested_label",
    "given_probability",
    "suggested_probability",
    "reason",
    "right_label",
    "text",
    "text_id",
)
OLD_ID = "id"  # the name of text_id in reviews of earlier versions
DATA_ID = "data_id"  # of the column with the users' ids if its own name is one of COLUMNS
NEEDED = ("file", "row", "right_label", "text_id")


@dataclass(frozen=True)
class Answer:
    """A row of a review.

    Attributes:
        line: Its line in the review, for messages.
        file, row: The place of the text in the data when the review was written.
        id: A hash of the text and its label (`text_id`).
        right: The answer: a label, or for multi-label data several. Empty: no answer.
    """

    line: int
    file: str
    row: int
    id: str
    right: str


def text_id(text: str, labels: Sequence[str]) -> str:
    """Return what identifies a text with its label. A spreadsheet does not take it for a number."""
    content = "\0".join([text, *labels]).encode("utf-8", "surrogatepass")
    return f"t{hashlib.sha256(content).hexdigest()[:16]}"


def write_review(path: Path, rows: Sequence[ReviewRow], found: AuditedTexts, settings: Settings) -> None:
    """Write the rows to look at as a table for a spreadsheet.

    The last column is `data.id_column`, if that is set.
    """
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    own = settings.data.id_column
    columns = [*COLUMNS, *([DATA_ID if own in COLUMNS else own] if own else [])]
    writer.writerow(map(safe_cell, columns))
    for cells in _table(rows, found):
        writer.writerow([safe_cell(cells.get(name, cells[DATA_ID])) for name in columns])
    write_text(path, f"\ufeff{output.getvalue()}")


def review_cells(path: Path) -> list[dict[str, str]]:
    """Return the cells of each row of a review by column, as they were before `safe_cell`.

    Raises:
        InputError: If the file is missing, or is not a review.
    """
    return [{name: plain_cell(cell or "") for name, cell in cells.items()} for _, cells in _rows(path)]


def read_review(path: Path) -> list[Answer]:
    """Return the rows of a review with their answers.

    Raises:
        InputError: If the file is missing, is not a review, or a row number is none.
    """
    return [_answer(path, line, cells) for line, cells in _rows(path)]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Yield the line where each row starts, and its cells by column.

    A spreadsheet may have written semicolons or tabs between the cells.
    """
    try:
        content = path.read_bytes()
        text = content.decode(marked_encoding(content[:4]) or "utf-8")
    except FileNotFoundError:
        raise InputError(f"--review {path} does not exist; tokensieve audit writes review.csv") from None
    except IsADirectoryError:
        raise InputError(
            f"--review {path} is a folder; name the file, such as {path / 'review.csv'}"
        ) from None
    except UnicodeDecodeError as error:
        line = content.split(b"\n")[content[: error.start].count(b"\n")]
        raise InputError(
            f"--review {path} is not UTF-8; it may be {likely_encoding(line)}: save it as CSV in UTF-8, or "
            f"convert it (iconv -f {likely_encoding(line)} -t utf-8)"
        ) from None
    except OSError as error:
        raise InputError(f"--review {path} cannot be read ({error}); save it as CSV in UTF-8") from None
    csv.field_size_limit(2**31 - 1)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        names = list(map(plain_cell, next(reader, [])))
        if "text_id" not in names:
            names = ["text_id" if name == OLD_ID else name for name in names]
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise InputError(
                f"--review {path} has no column {', '.join(missing)}; fill in the review.csv that tokensieve "
                "audit writes, and keep its columns"
            )
        start = reader.line_num + 1
        for record in reader:
            if record:
                yield start, dict(itertools.zip_longest(names, record[: len(names)]))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"--review {path}, line {start}: {error}; save it as CSV again") from None


def _answer(path: Path, line: int, cells: dict[str, str | None]) -> Answer:
    row = (cells["row"] or "").strip()
    if not row.isdecimal():
        raise InputError(
            f"--review {path}, line {line}: row is '{row}', not a row number; leave it as it was"
        )
    right = plain_cell((cells["right_label"] or "").strip()).strip()
    return Answer(line, plain_cell(cells["file"] or ""), int(row), (cells["text_id"] or "").strip(), right)


def _table(rows: Sequence[ReviewRow], found: AuditedTexts) -> list[dict[str, str]]:
    """Return the cells of each row to look at, by column."""
    table = []
    for row in rows:
        own = found.row(row.text)
        given, suggested = row.probabilities or (None, None)
        table.append(
            {
                "file": own.file,
                "row": str(own.row),
                "line": "" if own.line is None else str(own.line),
                "part": own.part,
                "label": JOINT.join(own.labels),
                "suggested_label": row.suggested,
                "given_probability": "" if given is None else f"{given:.3f}",
                "suggested_probability": "" if suggested is None else f"{suggested:.3f}",
                "reason": "; ".join(row.reasons),
                "right_label": "",
                "text": own.text,
                "text_id": text_id(own.text, own.labels),
                DATA_ID: own.id,
            }
        )
    return table
