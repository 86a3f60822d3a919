"""The validation stage: a Great Expectations suite over the raw data, its report and its Data Docs.

The expectations look at the numbers of `quality.py`, so no text comes into the Data Docs, whose renderer does not escape HTML.
Its pages load scripts from elsewhere, so only its sections are taken, into a page that loads nothing.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.expectations.core.expect_column_unique_value_count_to_be_between import (
    ExpectColumnUniqueValueCountToBeBetween,
)
from great_expectations.expectations.core.expect_column_values_to_be_between import (
    ExpectColumnValuesToBeBetween,
)
from great_expectations.expectations.core.expect_table_columns_to_match_set import (
    ExpectTableColumnsToMatchSet,
)
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaSectionView

from tasks.vocabulary import base_folder
from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names
from tokensieve.data.quality import mark_known_labels, measure_classes, measure_rows, one_row_per_label, rules
from tokensieve.data.raw_data import PARTS, drop_unlabelled, find_part_files, read_raw
from tokensieve.data.token_lengths import sampling_step, truncation_message, truncation_summary
from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_folder, read_json, write_json
from tokensieve.model.batches import token_counts
from tokensieve.model.encoder_check import Base, check_base
from tokensieve.project import Layout
from tokensieve.settings import CHECKS, Settings

ROWS, CHARACTERS = 20, 200  # what the report shows of the rows at fault
NAMED = 3  # rows that a message names
TRUNCATED = 0.01  # truncated texts up to this share are usual, and no reason for a warning
STRAY = 0.01  # broken texts up to this share are the data's own; with more, the file was read in the wrong encoding

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Data Docs</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; width: 100% }
td, th { border-bottom: 1px solid #ddd; padding: .3em .6em; text-align: left; vertical-align: top }
h5, h6 { font-size: 1em; margin: 1.5em 0 .3em }
tr.error td:first-child, .text-danger { color: #b00020 }
tr.warning td:first-child { color: #8a5a00 }
.fa-check-circle::before { content: "met" }
.fa-times::before { content: "failed" }
.fa-exclamation-triangle::before { content: "raised" }
</style>
<h1>Data Docs</h1>
BODY
</html>
"""


@dataclass(frozen=True)
class Subject:
    """What one suite looks at: a part, the classes of a part whose texts have several labels, or the champion's labels, which are
    looked for in train. `name` tells them apart: a part has its own name.

    `dropped`: rows that were left out for want of a label. `lengths`: tokens of the texts that were counted."""

    name: str
    part: str
    file: str
    examples: Examples
    numbers: Mapping[str, Sequence[int | None]]
    unread: str = ""
    dropped: int = 0
    lengths: Sequence[int] = ()

    @property
    def whole(self) -> bool:
        """Whether it is a part as it stands in the file."""
        return self.name == self.part

    @property
    def places(self) -> list[int]:
        """A number for each example, by which it is found again: two classes may stand in one row."""
        return self.examples.rows if self.whole else list(range(len(self.examples)))

    @property
    def columns(self) -> dict[str, Sequence[object]]:
        """Columns by name. Lone surrogates are escaped: Arrow, which holds the texts, refuses them."""
        if self.unread:
            return {}
        texts = {"text": self.examples.texts}
        if self.part != "oos":
            texts["label"] = [", ".join(names) for names in self.examples.labels]
        printable = {name: [_printable(cell) or None for cell in cells] for name, cells in texts.items()}
        return {
            "row": self.places,
            **printable,
            **{check: pd.array(cells, dtype="Int64") for check, cells in self.numbers.items()},
        }


def validate(layout: Layout, settings: Settings) -> dict[str, Any]:
    """Check the raw data, write the report and the Data Docs, and return the report.

    Whatever `validate.errors` says, a file that cannot be read is an error, and so is a label of validation or test that train
    lacks: nothing can be trained on the one, and no model can predict the other. So is a row without a label, unless
    `data.unlabelled` drops it: an empty label is never a class.

    Raises:
        InputError: a base model that the settings do not suit (`check_base`), or a check that stops the flow has failed. In the latter
            case report and Data Docs are written all the same.
    """
    base = check_base(base_folder(layout, settings), settings)
    subjects = _subjects(layout, settings, base)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    source = context.data_sources.add_pandas("raw")
    results, checks = {}, []
    for subject in subjects:
        batch = source.add_dataframe_asset(subject.name).add_batch_definition_whole_dataframe("all")
        results[subject.name] = batch.get_batch({"dataframe": pd.DataFrame(subject.columns)}).validate(
            _suite(subject, settings),
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": ["row"],
                "partial_unexpected_count": ROWS,
            },
        )
        checks += _checks(subject, results[subject.name], settings, base)
    failed = [check for check in checks if not check["passed"]]
    errors = [check for check in failed if check["severity"] == "error"]
    report = {
        "rows": {subject.part: len(subject.examples) for subject in subjects if subject.whole},
        "classes": len(class_names(subjects[0].examples.labels)),
        "unlabelled": {subject.part: subject.dropped for subject in subjects if subject.dropped},
        "truncated": truncation_summary(
            [length for subject in subjects for length in subject.lengths], settings.base.max_length
        ),
        "checks": checks,
        "errors": len(errors),
        "warnings": len(failed) - len(errors),
    }
    with atomic_folder(layout.validation) as folder:
        (folder / "docs").mkdir()
        (folder / "docs" / "index.html").write_text(_page(checks, results), encoding="utf-8")
        write_json(folder / "report.json", report)
    if errors:
        raise InputError(_summary(errors), _rows_at_fault(errors, layout))
    return report


def _subjects(layout: Layout, settings: Settings, base: Base) -> list[Subject]:
    files = find_part_files(layout.raw)
    raw = read_raw(files, settings.data)
    examples: dict[str, Examples] = {}
    unread = {part: str(error) for part, error in raw.errors.items()}
    dropped: dict[str, int] = {}
    for part, own in raw.parts.items():
        try:
            examples[part], dropped[part] = (
                (own, 0) if part == "oos" else drop_unlabelled(own, settings.data, files[part])
            )
        except InputError as error:
            unread[part] = str(error)
    champion = read_json(layout.champion).get("labels", []) if layout.champion.exists() else []
    lengths = {
        part: token_counts(base.tokenizer, own.texts[:: sampling_step(len(own))])
        for part, own in examples.items()
    }
    subjects = [
        Subject(part, part, files[part].name, Examples(), {}, unread[part])
        if part in unread
        else Subject(
            part,
            part,
            files[part].name,
            examples[part],
            measure_rows(part, examples, champion)
            | {"truncated": _unread(lengths[part], len(examples[part]), settings)},
            dropped=dropped[part],
            lengths=lengths[part],
        )
        for part in PARTS
        if part in files
    ]
    trained = class_names(examples["train"].labels) if "train" in examples else []
    if any(own.multi_label for own in examples.values()):
        for part in [part for part in PARTS if part in examples and part != "oos"]:
            own = one_row_per_label(examples[part])
            subjects.append(
                Subject(
                    f"labels of {part}",
                    part,
                    files[part].name,
                    own,
                    measure_classes(part, own.labels, trained, champion),
                )
            )
    if champion and "train" in examples:
        numbers = {"vanished_label": mark_known_labels([(name,) for name in champion], trained)}
        labels = Examples([""] * len(champion), [(name,) for name in champion], list(range(len(champion))))
        subjects.append(Subject("champion", "train", files["train"].name, labels, numbers))
    return subjects


def _suite(subject: Subject, settings: Settings) -> gx.ExpectationSuite:
    severities = {
        check: FailureSeverity.CRITICAL if _stops(subject, check, settings) else FailureSeverity.WARNING
        for check in CHECKS
    }
    expectations: list[Expectation] = [
        ExpectColumnValuesToBeBetween(
            column=check,
            min_value=rule.low,
            max_value=rule.high,
            mostly=1 - TRUNCATED if check == "truncated" else 1.0,
            severity=severities[check],
            description=rule.holds,
            meta={"check": check},
        )
        for check, rule in rules(settings.validate, subject.part).items()
        if check in subject.numbers
    ]
    if subject.whole:
        columns = ["text"] if subject.part == "oos" else ["text", "label"]
        expectations.append(
            ExpectTableColumnsToMatchSet(
                column_set=columns,
                exact_match=False,
                severity=severities["columns"],
                meta={"check": "columns"},
            )
        )
    single_label = subject.name == "train" and not subject.examples.multi_label and not subject.unread
    if single_label or subject.name == "labels of train":
        expectations.append(
            ExpectColumnUniqueValueCountToBeBetween(
                column="label",
                min_value=2,
                max_value=settings.validate.max_classes,
                severity=severities["classes"],
                meta={"check": "classes"},
            )
        )
    return gx.ExpectationSuite(subject.name, expectations)


def _stops(subject: Subject, check: str, settings: Settings) -> bool:
    if check in ("columns", "unlabelled") or (check == "unknown_label" and subject.part != "train"):
        return True
    broken = sum(map(bool, subject.numbers.get("encoding", [])))
    if check == "encoding" and 0 < broken <= STRAY * len(subject.examples):
        return False
    return check in settings.validate.errors


def _checks(
    subject: Subject, result: ExpectationSuiteValidationResult, settings: Settings, base: Base
) -> list[dict[str, Any]]:
    """The report's entries for one suite, in the order of `CHECKS`."""
    place = {number: i for i, number in enumerate(subject.places)}
    checks = {}
    for outcome in result.results:
        config = outcome.expectation_config
        assert config is not None
        if not outcome.result:
            raise RuntimeError(
                f"Great Expectations could not evaluate '{config.meta['check']}': {outcome.exception_info}"
            )
        indices = [place[cells["row"]] for cells in outcome.result.get("partial_unexpected_index_list", [])]
        check = {
            "name": config.meta["check"],
            "part": subject.part,
            "severity": "error" if config.severity == FailureSeverity.CRITICAL else "warning",
            "passed": bool(outcome.success),
            "count": outcome.result.get("unexpected_count", int(not outcome.success)),
            "rows": [_row(subject, i) for i in indices],
        }
        checks[check["name"]] = check | {"message": _message(subject, check, settings, base)}
    return [checks[name] for name in CHECKS if name in checks]


def _row(subject: Subject, i: int) -> dict[str, Any]:
    own = subject.examples
    return {
        "row": None if subject.name == "champion" else own.rows[i],
        "text": _printable(own.texts[i][:CHARACTERS]),
        "label": _printable(", ".join(own.labels[i])[:CHARACTERS]),
    }


def _message(subject: Subject, check: Mapping[str, Any], settings: Settings, base: Base) -> str:
    """One line on the outcome. It names rows and labels, but holds no text: messages are logged."""
    name, count, most = check["name"], check["count"], settings.validate.max_classes
    if name == "columns":
        return subject.unread or f"{subject.file}, columns: all there"
    if name == "classes":
        found = class_names(subject.examples.labels)
        shown = f"1 class, {excerpt(found[0], 40)}" if len(found) == 1 else f"{len(found):,} classes"
        remedy = (
            ""
            if check["passed"]
            else f"; is column '{settings.data.label_column}' (data.label_column) the one with the labels?"
        )
        return f"{subject.file}, classes: {shown}; allowed: 2 to {most:,} (validate.max_classes){remedy}"
    if name == "truncated" and count:
        return (
            f"{subject.file}, truncated: {truncation_message(subject.lengths, settings.base, base.positions)}"
        )
    if name == "unlabelled" and subject.dropped:
        rows = "1 row" if subject.dropped == 1 else f"{subject.dropped:,} rows"
        return f"{subject.file}, unlabelled: {rows} without a label left out (data.unlabelled=drop)"
    rule = rules(settings.validate, subject.part)[name]
    if check["passed"]:
        return f"{subject.file}, {name}: {rule.holds}"
    named = [
        excerpt(row["label"], 40) if rule.unit == "class" else str(row["row"])
        for row in check["rows"][:NAMED]
    ]
    more = f" and {count - NAMED:,} more" if count > NAMED else ""
    unit = rule.unit if count == 1 else {"row": "rows", "class": "classes"}[rule.unit]
    return f"{subject.file}, {name}: {count:,} {unit} {rule.fails} ({', '.join(named)}{more}); {rule.remedy}"


def _unread(lengths: Sequence[int], texts: int, settings: Settings) -> list[int | None]:
    """For each of a part's texts the number of tokens that are not read, None if its tokens were not counted."""
    unread: list[int | None] = [None] * texts
    unread[:: sampling_step(texts)] = [max(0, length - settings.base.max_length) for length in lengths]
    return unread


def _summary(errors: Sequence[Mapping[str, Any]]) -> str:
    """What stops the flow, in a line a check."""
    first = (
        []
        if len(errors) == 1
        else [f"the data fails {len(errors)} of its checks (validate.errors names those that stop):"]
    )
    return "\n".join([*first, *(check["message"] for check in errors)])


def _rows_at_fault(errors: Sequence[Mapping[str, Any]], layout: Layout) -> str:
    """What the first rows at fault hold, and where to look further."""
    lines = [
        f"  row {row['row']}: text {excerpt(row['text'])}, label {excerpt(row['label'], 40)}"
        for check in errors
        for row in check["rows"][:NAMED]
        if row["row"]
    ]
    lines.append(f"The first {ROWS} rows of each check: {layout.validation / 'report.json'}")
    if len(layout.versions.read_text(encoding="utf-8").splitlines() if layout.versions.exists() else []) > 1:
        lines.append("The data before it: tokensieve data list, tokensieve data restore HASH")
    return "\n".join(lines)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _page(
    checks: Sequence[Mapping[str, Any]], results: Mapping[str, ExpectationSuiteValidationResult]
) -> str:
    """The Data Docs: what every check found, then Great Expectations' own account of each suite."""
    body = ["<table>"]
    for check in checks:
        outcome = "passed" if check["passed"] else check["severity"]
        body.append(f'<tr class="{outcome}"><td>{outcome}</td><td>{html.escape(check["message"])}</td></tr>')
    body.append("</table>")
    view = DefaultJinjaSectionView()
    for part, result in results.items():
        met, of = result.statistics["successful_expectations"], result.statistics["evaluated_expectations"]
        body.append(f"<h2>{part}: {met} of {of} expectations met</h2>")
        document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
        # The first section links to pages that are not made, the last holds times and random ids.
        for section in document.sections[1:-1]:
            tree = {"section": section.to_json_dict(), "section_loop": {"index": len(body)}}
            body.append(view.render(tree))  # type: ignore[no-untyped-call]
    return PAGE.replace("BODY", "\n".join(body))
