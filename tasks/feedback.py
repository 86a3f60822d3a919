"""Take corrections from the server's feedback file into the raw data, before they are versioned."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokensieve.data.normalize import is_blank, normalize_text
from tokensieve.data.raw_data import find_part_files, read_examples, read_raw
from tokensieve.data.table_readers import read_chunks
from tokensieve.data.table_writers import json_line, row_dicts
from tokensieve.errors import InputError
from tokensieve.files import atomic_folder, complete_replacement
from tokensieve.project import Layout
from tokensieve.settings import Data

log = logging.getLogger("tokensieve")

Label = str | list[str]


def add_feedback(layout: Layout, path: Path, columns: Data) -> tuple[int, int]:
    """Correct the labels in data/raw, and add new texts to the training texts.

    A text that the raw data contain gets its new label in every part. Of several corrections of a
    text, the last one counts. A part that changes becomes a JSON Lines file with the same columns.
    Return the numbers of corrected rows and of new texts.

    Raises:
        InputError: If a file cannot be read, or if it has no corrections for this project.
    """
    corrections = _corrections(path, layout.root.name)
    complete_replacement(layout.raw)
    known: set[str] = set()
    corrected = 0
    with atomic_folder(layout.raw) as folder:
        for part, file in sorted(find_part_files(layout.raw).items(), key=lambda item: item[0] == "train"):
            rows, changes = list(_rows(file, columns)), 0
            for row in rows if part != "oos" else ():
                key = normalize_text(str(row.get(columns.text_column) or ""))
                if key in corrections:
                    known.add(key)
                    changes += row[columns.label_column] != corrections[key][1]
                    row[columns.label_column] = corrections[key][1]
            # The part train comes last.
            new = [corrections[key] for key in corrections.keys() - known] if part == "train" else []
            rows += [{columns.text_column: text, columns.label_column: label} for text, label in sorted(new)]
            if changes or new:
                (folder / f"{part}.jsonl").write_bytes(b"".join(map(json_line, rows)))
            else:
                shutil.copyfile(file, folder / file.name)
            corrected += changes
        read_raw(find_part_files(folder), columns).checked()
    log.info("feedback: %d labels corrected, %d texts added", corrected, len(new))
    return corrected, len(new)


def _corrections(path: Path, project: str) -> dict[str, tuple[str, Label]]:
    """Return text and label of each correction, by the normalized text.

    The feedback of a model that several tasks share names the task. Only that of this project, by
    the name of its folder, is taken.
    """
    examples = read_examples(path)
    _, chunks = read_chunks(path, "text")
    tasks = [row.get("task") for chunk in chunks for row in row_dicts(chunk)]
    found: dict[str, tuple[str, Label]] = {}
    for text, names, task in zip(examples.texts, examples.labels, tasks, strict=True):
        wanted = not is_blank(text) and (names or examples.multi_label) and task in (None, "", project)
        if wanted:
            label: Label = list(names) if examples.multi_label else names[0]
            found[normalize_text(text)] = (text, label)
    if not found:
        raise InputError(f"{path} has no texts with labels for this project")
    return found


def _rows(path: Path, columns: Data) -> Iterator[dict[str, Any]]:
    _, chunks = read_chunks(path, columns.text_column)
    for chunk in chunks:
        yield from row_dicts(chunk)
