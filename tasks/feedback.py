"""Take corrections from the server's feedback file into the raw data, before they are versioned."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokensieve.broken_characters import count_control_characters
from tokensieve.data.normalize import is_blank, normalize_text
from tokensieve.data.raw_data import find_part_files, read_examples, read_raw
from tokensieve.data.relabel import relabelled_json_lines
from tokensieve.data.table_formats import format_of
from tokensieve.data.table_readers import read_chunks
from tokensieve.data.table_writers import json_line, row_dicts
from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_folder, complete_replacement
from tokensieve.project import Layout
from tokensieve.settings import Data
from tokensieve.text_rule import join_columns

log = logging.getLogger("tokensieve")

NAMED = 5  # other tasks that a message names

Label = str | list[str]


def add_feedback(layout: Layout, path: Path, columns: Data) -> tuple[int, int]:
    """Correct the labels in data/raw, and add new texts to the training texts.

    A text that the raw data contain gets its new label in every part. Of several corrections of a
    text, the last one counts. A part that changes becomes a JSON Lines file with the same columns.
    Return the numbers of corrected rows and of new texts.

    Raises:
        InputError: If a file cannot be read, or if it has no corrections for this project.
    """
    corrections = _corrections(path, layout.root.name, columns)
    complete_replacement(layout.raw)
    known: set[str] = set()
    corrected = 0
    with atomic_folder(layout.raw) as folder:
        for part, file in sorted(find_part_files(layout.raw).items(), key=lambda item: item[0] == "train"):
            rows = list(_rows(file, columns))
            answers = _answers(rows, corrections, columns, known) if part != "oos" else {}
            # The part train comes last.
            new = [corrections[key] for key in corrections.keys() - known] if part == "train" else []
            added = [own.row(columns) for own in sorted(new, key=lambda own: own.text)]
            if answers or added:
                lines = _lines(file, rows, answers, columns)
                lines += [json_line(row).decode() for row in added]
                (folder / f"{part}.jsonl").write_bytes(_encoded(lines, columns.codec))
            else:
                shutil.copyfile(file, folder / file.name)
            corrected += len(answers)
        read_raw(find_part_files(folder), columns).checked()
    log.info("feedback: %d labels corrected, %d texts added", corrected, len(new))
    return corrected, len(new)


@dataclass(frozen=True)
class _Correction:
    """A text with its right label, and the values of its columns if they are known."""

    text: str
    label: Label
    values: Mapping[str, str | None]

    def row(self, columns: Data) -> dict[str, Any]:
        """Return a row of the raw data, which gives the same text when its columns are joined."""
        *others, last = columns.text_columns
        known = self.values.keys() == set(columns.text_columns)
        values = dict(self.values) if known else dict.fromkeys(others) | {last: self.text}
        ids = {columns.id_column: None} if columns.id_column else {}
        return values | ids | {columns.label_column: self.label}


def _corrections(path: Path, project: str, columns: Data) -> dict[str, _Correction]:
    """Return each correction by the normalized text.

    The feedback of a model that several tasks share names the task. Only that of this project, by
    the name of its folder, is taken. Texts with control characters are left out, because the
    validation would stop at them. The numbers of rows that are left out are logged.
    """
    header, chunks = read_chunks(path, "text")  # first, because data.encoding does not concern this file
    if "right_label" in header:
        raise InputError(f"{path} is a review, with column right_label; take it in with --review {path}")
    rows = [(row.get("task"), row.get("columns")) for chunk in chunks for row in row_dicts(chunk)]
    others = Counter(str(task) for task, _ in rows if task not in (None, "", project))
    own = {number for number, (task, _) in enumerate(rows, 1) if task in (None, "", project)}
    # The rows of other tasks may have labels of another form: they are not read as examples. The
    # server has compared the labels with those of the model, so fractions among them are labels.
    examples = read_examples(path, rows=own, refuse_numbers=False)
    found: dict[str, _Correction] = {}
    strange: list[int] = []
    for number, text, names in zip(examples.rows, examples.texts, examples.labels, strict=True):
        wanted = not is_blank(text) and (names or examples.multi_label)
        if wanted and count_control_characters(text):
            strange.append(number)
        elif wanted:
            label: Label = list(names) if examples.multi_label else names[0]
            _, values = rows[number - 1]
            known = values if isinstance(values, dict) else {}
            found[normalize_text(columns.text_rule.cleaned(text))] = _Correction(text, label, known)
    _warn(path, others, strange)
    if not found:
        takes = f", which takes the task {excerpt(project, 40)}, the name of its folder" if others else ""
        raise InputError(f"{path} has no texts with labels for this project{takes}")
    return found


def _warn(path: Path, others: Counter[str], strange: Sequence[int]) -> None:
    """Log how many rows are of other tasks, and how many texts have control characters."""
    if others:
        log.warning(
            "warning: %s: %d rows of other tasks are left out (%s)",
            path,
            others.total(),
            ", ".join(f"{excerpt(task, 40)} {count:,}" for task, count in others.most_common(NAMED)),
        )
    if strange:
        log.warning(
            "warning: %s: %d texts with control characters are left out, the first in row %d",
            path,
            len(strange),
            strange[0],
        )


def _rows(path: Path, columns: Data) -> Iterator[dict[str, Any]]:
    _, chunks = read_chunks(path, columns.text_columns, columns.codec, written_numbers=True)
    for chunk in chunks:
        yield from row_dicts(chunk)


def _answers(
    rows: Sequence[Mapping[str, Any]],
    corrections: Mapping[str, _Correction],
    columns: Data,
    known: set[str],
) -> dict[int, Label]:
    """Return the right labels of the rows that have others, by their number from 1.

    Add the keys of the corrections that are about a row to `known`.
    """
    found = {}
    for number, row in enumerate(rows, 1):
        text = join_columns([row.get(name) for name in columns.text_columns]) or ""
        key = normalize_text(columns.text_rule.cleaned(text))
        if key in corrections:
            known.add(key)
            if row[columns.label_column] != corrections[key].label:
                found[number] = corrections[key].label
    return found


def _lines(
    path: Path, rows: Sequence[Mapping[str, Any]], answers: Mapping[int, Label], columns: Data
) -> list[str]:
    """Return the rows of a file as JSON Lines, with the labels of `answers`."""
    if format_of(path) == ".jsonl":  # all else stays as it is written
        names = {row: (label,) if isinstance(label, str) else tuple(label) for row, label in answers.items()}
        return list(relabelled_json_lines(path, names, columns))
    return [
        json_line({**row, columns.label_column: answers.get(number, row[columns.label_column])}).decode()
        for number, row in enumerate(rows, 1)
    ]


def _encoded(lines: Iterable[str], codec: str | None) -> bytes:
    """Return lines of JSON in the encoding in which the raw data are read.

    Characters that it does not have are escaped.
    """
    return "".join(line if _has(codec, line) else _escaped(line) for line in lines).encode(codec or "utf-8")


def _has(codec: str | None, line: str) -> bool:
    try:
        line.encode(codec or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(line: str) -> str:
    return "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in line)
