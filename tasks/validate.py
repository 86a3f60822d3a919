"""Stage validate: check the raw data against expectations, and write a report and Data Docs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tasks.artifacts import Champion
from tasks.data_docs import data_docs
from tasks.expectations import Table, check_table, load_suite
from tasks.faulty_rows import NAME as FAULTS
from tasks.faulty_rows import write_faulty_rows
from tasks.reporting.shown import data_notes, data_warnings
from tasks.validation_report import Context, checks_of, error_detail, error_message, label_changes
from tasks.versioning.data_versions import shown_names
from tasks.vocabulary import base_folder
from tokensieve.data.examples import Examples
from tokensieve.data.label_names import prepare_labels
from tokensieve.data.labels import class_names
from tokensieve.data.quality import measure_classes, measure_rows, one_row_per_label
from tokensieve.data.raw_data import PARTS, drop_unlabelled, find_part_files, read_raw_once
from tokensieve.data.token_lengths import sampling_step, truncation_summary
from tokensieve.errors import InputError
from tokensieve.files import atomic_folder, write_json
from tokensieve.model.batches import token_counts
from tokensieve.model.encoder_check import Base, check_base
from tokensieve.model.prompt import prompt_note
from tokensieve.project import Layout
from tokensieve.registry.project_identity import identity
from tokensieve.settings import Settings

# With up to this share of broken texts, these are few faults of the data; with more, the file was
# read in a wrong encoding.
FEW_BROKEN = 0.01

log = logging.getLogger("tokensieve")


def validate(layout: Layout, settings: Settings) -> dict[str, Any]:
    """Check the raw data, write report.json and the Data Docs, and return the report.

    Warnings and notes are logged at once, so that the data can be corrected before the training.

    Some checks stop a run even if `validate.errors` does not name them: a file that cannot be read,
    a row without a label (unless `data.unlabelled` drops it), and a label of validation or test
    that train does not have.

    Raises:
        InputError: If the base model does not suit the settings (`check_base`), if validate.suite
            is not a suite, or if a check that stops the run failed. In the last case, report and
            Data Docs are written.
    """
    base = check_base(base_folder(layout, settings), settings)
    own = load_suite(layout.root / settings.validate.suite) if settings.validate.suite else []
    tables = _tables(layout, settings, base)
    found, checks = [], []
    for table in tables:
        findings = check_table(table, settings.validate, partial(_stops, table, settings), own)
        found.append((table, findings))
        checks += checks_of(table, findings, Context(settings, base))
    failed = [check for check in checks if not check["passed"]]
    errors = [check for check in failed if check["severity"] == "error"]
    lengths = [length for table in tables for length in table.lengths]
    report = {
        "rows": {table.part: len(table.examples) for table in tables if table.is_part},
        "classes": len(class_names(tables[0].examples.labels)),
        "unlabelled": {table.part: table.dropped for table in tables if table.dropped},
        "truncated": truncation_summary(lengths, settings.base.max_length),
        "checks": checks,
        "errors": len(errors),
        "warnings": len(failed) - len(errors),
    }
    with atomic_folder(layout.validation) as folder:
        (folder / "docs").mkdir()
        page = data_docs(identity(layout, settings).model, checks, found, settings.base.max_length)
        (folder / "docs" / "index.html").write_text(page, encoding="utf-8")
        write_json(folder / "report.json", report)
        write_faulty_rows(folder / FAULTS, found)
    if errors:
        raise InputError(error_message(errors), error_detail(errors, layout))
    _log(report, prompt_note(base_folder(layout, settings), settings.base.prompt, base.prompt))
    return report


def _log(report: dict[str, Any], note: str) -> None:
    for message in (*([note] if note else []), *data_notes(report)):
        log.info("note: %s", message)
    for message in data_warnings(report, {}):
        log.warning("warning: %s", message)


def _tables(layout: Layout, settings: Settings, base: Base) -> list[Table]:
    """Return a table per part, and for multi-label data a table of labels per part."""
    files = find_part_files(layout.raw)
    names = shown_names(layout, files)
    raw = read_raw_once(files, settings.data, layout.parsed)
    examples: dict[str, Examples] = {}
    unreadable = {part: str(error) for part, error in raw.errors.items()}
    dropped: dict[str, int] = {}
    for part, read in raw.parts.items():
        try:
            examples[part], dropped[part] = (
                (read, 0) if part == "oos" else drop_unlabelled(read, settings.data, files[part])
            )
        except InputError as error:
            unreadable[part] = str(error)
    prepared = prepare_labels(examples, settings.data)
    examples = prepared.parts
    found = Champion.load(layout.champion)
    champion = found.labels if found else ()
    tables = []
    for part in (part for part in PARTS if part in files):
        if part in unreadable:
            tables.append(Table(part, part, names[part], unreadable=unreadable[part]))
        else:
            file = names[part]
            tables.append(_part_table(part, file, examples, dropped[part], champion, settings, base))
    if any(own.multi_label for own in examples.values()):
        labelled = [part for part in PARTS if part in examples and part != "oos"]
        tables += [_label_table(part, names[part], examples, champion, settings) for part in labelled]
    changes = label_changes(prepared, settings.data)
    return [
        replace(table, changes=changes) if table.part == "train" and table.has_classes else table
        for table in tables
    ]


def _part_table(
    part: str,
    file: str,
    examples: Mapping[str, Examples],
    dropped: int,
    champion: Sequence[str],
    settings: Settings,
    base: Base,
) -> Table:
    own = examples[part]
    step, limit = sampling_step(len(own)), settings.base.max_length
    lengths = token_counts(base.tokenizer, own.texts[::step])
    unread: list[int | None] = [None] * len(own)
    unread[::step] = [max(0, length - limit) for length in lengths]
    measures = {**measure_rows(part, examples, settings.data.rare_below), "truncated": unread}
    known = _known_labels(part, examples, champion)
    vanishing = champion if part == "train" else ()
    return Table(part, part, file, own, measures, known, vanishing, dropped=dropped, lengths=lengths)


def _label_table(
    part: str, file: str, examples: Mapping[str, Examples], champion: Sequence[str], settings: Settings
) -> Table:
    own = one_row_per_label(examples[part])
    measures = measure_classes(part, own.labels, settings.data.rare_below)
    known = _known_labels(part, examples, champion)
    vanishing = champion if part == "train" else ()
    return Table(f"labels of {part}", part, file, own, measures, known, vanishing)


def _known_labels(part: str, examples: Mapping[str, Examples], champion: Sequence[str]) -> Sequence[str]:
    """Return the labels that are not new in a part. Empty if there is nothing to compare with."""
    if part == "train":
        return champion
    return class_names(examples["train"].labels) if "train" in examples else ()


def _stops(table: Table, settings: Settings, check: str) -> bool:
    if check in ("columns", "unlabelled") or (check == "unknown_label" and table.part != "train"):
        return True
    broken = sum(map(bool, table.measures.get("encoding", [])))
    if check == "encoding" and 0 < broken <= FEW_BROKEN * len(table.examples):
        return False
    return check in settings.validate.errors
