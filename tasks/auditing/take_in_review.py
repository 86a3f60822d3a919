"""Take the answers of a review into the data, as a new version that names the one before it."""

from __future__ import annotations

import difflib
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.auditing.audited_texts import split_labels
from tasks.auditing.review_file import REMOVE, Answer, read_review, text_id
from tasks.ingest import ingest_relabelled, present_files
from tasks.versioning.data_versions import data_hash, file_names, reviewed_source, shown_names
from tokensieve.data.examples import Examples
from tokensieve.data.label_names import prepare_labels
from tokensieve.data.labels import class_names
from tokensieve.data.raw_data import read_raw_once
from tokensieve.data.relabel import Answers, write_relabelled
from tokensieve.data.table_formats import ending_of
from tokensieve.errors import InputError, excerpt
from tokensieve.project import Layout
from tokensieve.settings import Settings

log = logging.getLogger("tokensieve")

NAMED = 5  # rows that a message names

Place = tuple[str, int]
"""A part of the raw data, and a row of its file."""


@dataclass(frozen=True)
class TakenIn:
    """What became of a review.

    Attributes:
        data_hash: The version of the data with the answers.
        before: The version before it. The same: no answer changed a label.
        changed: Rows with another label now.
        removed: Rows that are no longer in the data.
        confirmed: Rows whose label was right.
        unanswered: Rows without an answer, which stay as they are.
        missing: Rows with an answer whose text, with its label, is not in the data any more.
    """

    data_hash: str
    before: str
    changed: int
    removed: int
    confirmed: int
    unanswered: int
    missing: int


def take_in_review(layout: Layout, settings: Settings, review: Path, new_labels: bool = False) -> TakenIn:
    """Apply the answers in the file `review` to the raw data, and add them as a version.

    With `new_labels`, an answer may be a label that no text has yet.

    Raises:
        InputError: If the file is not a review, has no answer, an unknown label or two answers for
            one row, or if none of its texts is in the data. The data then stay as they are.
    """
    answers = read_review(review)
    given = [answer for answer in answers if answer.right]
    if not given:
        raise InputError(f"--review {review} has no answer; write the right labels into column right_label")
    before = data_hash(layout)
    files = present_files(layout)
    raw = read_raw_once(files, settings.data, layout.parsed).checked()
    parts = prepare_labels(raw, settings.data).parts  # the review has the labels that the model has
    labels = _right_labels(review, given, parts, new_labels)
    names = {part: file_names(layout).get(part, path.name) for part, path in files.items()}
    shown = shown_names(layout, files)
    places, missing = _places(review, given, parts, {part: (names[part], shown[part]) for part in files})
    if not places:
        raise InputError(
            f"--review {review}: none of its {len(given):,} answered texts is in the data with the label "
            "that it had; run tokensieve audit, and answer its new review.csv"
        )
    changes: dict[str, dict[int, tuple[str, ...] | None]] = {}
    confirmed = 0
    given_labels = {part: dict(zip(own.rows, own.labels, strict=True)) for part, own in parts.items()}
    for (part, row), answer in places.items():
        if given_labels[part][row] == labels[answer]:
            confirmed += 1
        else:
            changes.setdefault(part, {})[row] = labels[answer]
    applied = [value for rows in changes.values() for value in rows.values()]
    if applied:
        _check_rows_stay(review, changes, parts, names)
        _write(layout, settings, changes, files, reviewed_source(layout))
    removed = sum(value is None for value in applied)
    unanswered = len(answers) - len(given)
    counts = (len(applied) - removed, removed, confirmed, unanswered, len(missing))
    return TakenIn(data_hash(layout), before, *counts)


def _right_labels(
    review: Path, given: Sequence[Answer], parts: Mapping[str, Examples], new_labels: bool
) -> dict[Answer, tuple[str, ...] | None]:
    """Return the labels of each answer, None for a row that is to be removed."""
    known = class_names(labels for part, own in parts.items() if part != "oos" for labels in own.labels)
    multi_label = any(own.multi_label for own in parts.values())
    found: dict[Answer, tuple[str, ...] | None] = {}
    for answer in given:
        if answer.right.casefold() == REMOVE and answer.right not in known:
            found[answer] = None
            continue
        found[answer] = split_labels(answer.right) if multi_label else (answer.right,)
        unknown = [name for name in found[answer] or () if name not in known]
        if unknown and not new_labels:
            close = difflib.get_close_matches(unknown[0], known, 1)
            hint = f" (did you mean {excerpt(close[0], 40)}?)" if close else ""
            raise InputError(
                f"--review {review}, line {answer.line}: no text has the label "
                f"{excerpt(unknown[0], 40)}{hint}; if it is a new class, add --new-labels"
            )
    return found


def _places(
    review: Path,
    given: Sequence[Answer],
    parts: Mapping[str, Examples],
    names: Mapping[str, tuple[str, str]],
) -> tuple[dict[Place, Answer], list[Answer]]:
    """Return the place of each answered text in the present data, and the answers without one.

    A text is found by its content and its label, wherever it is now. Of several copies, the one in
    the row of the review is meant.
    """
    wanted = {answer.id for answer in given}
    found: dict[str, list[Place]] = {}
    for part, own in parts.items():
        for text, labels, row in zip(own.texts, own.labels, own.rows, strict=True):
            if part != "oos" and (known := text_id(text, labels)) in wanted:
                found.setdefault(known, []).append((part, row))
    places: dict[Place, Answer] = {}
    missing = []
    for answer in given:
        copies = found.get(answer.id, [])
        same = [place for place in copies if answer.file in names[place[0]] and answer.row == place[1]]
        if not same and len(copies) != 1:
            missing.append(answer)
            continue
        place = (same or copies)[0]
        other = places.setdefault(place, answer)
        if other.right != answer.right:
            raise InputError(
                f"--review {review}: lines {other.line} and {answer.line} answer {excerpt(other.right, 40)} "
                f"and {excerpt(answer.right, 40)} for one row; keep one of them"
            )
    if missing:
        shown = ", ".join(
            f"{answer.file} row {answer.row} (line {answer.line} of the review)" for answer in missing[:NAMED]
        )
        more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
        log.warning(
            "warning: these texts are not in the data any more with the label that they had, so their "
            "answers are left out: %s%s",
            shown,
            more,
        )
    return places, missing


def _check_rows_stay(
    review: Path, changes: Mapping[str, Answers], parts: Mapping[str, Examples], names: Mapping[str, str]
) -> None:
    for part, answers in changes.items():
        if sum(value is None for value in answers.values()) == len(parts[part]):
            raise InputError(
                f"--review {review} removes all {len(parts[part]):,} rows of {names[part]}; at least one has "
                "to stay"
            )


def _write(
    layout: Layout,
    settings: Settings,
    changes: Mapping[str, Answers],
    files: Mapping[str, Path],
    source: str,
) -> None:
    layout.fetched.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.fetched.parent) as folder:
        written = dict(files)
        for part, answers in changes.items():
            written[part] = Path(folder) / f"{part}{ending_of(files[part])}"
            write_relabelled(files[part], written[part], answers, settings.data)
        ingest_relabelled(layout, settings, written, source)
