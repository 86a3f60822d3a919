"""The checks of the raw data, as expectations of Great Expectations.

There is one suite per table of labelled texts, and the project's own suite. Null values, lengths,
duplicate texts and sets of labels are native expectations. For the other checks,
`tokensieve/data/quality.py` computes columns of counts. It also has the rule of every check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.hidden_packages import hidden
from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names
from tokensieve.data.normalize import copy_key, is_blank
from tokensieve.data.quality import count_earlier_copies, rules
from tokensieve.errors import InputError, causes, excerpt
from tokensieve.files import read_json
from tokensieve.settings import Validate

# Great Expectations imports all of PySpark if it is installed. That warns of new versions of
# pandas, and ends a process whose main module is not a file.
with hidden("pyspark"):
    import great_expectations as gx
    from great_expectations import expectations as gxe
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation import Expectation
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

MAX_LABELS = 20  # that a check misses
MAX_ROWS = 100_000  # of a check that failed
# Share of the texts that is no reason for a warning, of the checks that some texts always fail.
USUAL = {"truncated": 0.01, "markup": 0.01, "quoted": 0.01}
OWN = "the project's own suite"
COLUMNS = ("row", "text", "label")  # of a table, for the project's own suite


@dataclass(frozen=True)
class Table:
    """Labelled texts that one suite checks.

    They are a part or, for multi-label data, the labels of a part with one row per label.

    Attributes:
        name: Different for each table. A part's table has the name of the part.
        part: train, validation, test or oos.
        file: The name of the part's file.
        examples: The texts and labels. Empty if the file cannot be read.
        measures: Numbers per row of the checks that Great Expectations does not have.
        known_labels: The labels that are not new: those of the champion for train, those of train
            for the other parts.
        champion_labels: The labels that must not vanish from train.
        unreadable: Why the file cannot be read. Empty if it can.
        dropped: Rows that were dropped because they have no label.
        lengths: Numbers of tokens of a sample of the texts.
        changes: What the settings changed in the data, by the check that would have warned of it.
    """

    name: str
    part: str
    file: str
    examples: Examples = field(default_factory=Examples)
    measures: Mapping[str, Sequence[int | None]] = field(default_factory=dict)
    known_labels: Sequence[str] = ()
    champion_labels: Sequence[str] = ()
    unreadable: str = ""
    dropped: int = 0
    lengths: Sequence[int] = ()
    changes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_part(self) -> bool:
        """Return whether the table has the rows of a file."""
        return self.name == self.part

    @property
    def has_classes(self) -> bool:
        """Return whether each row has at most one label, so that labels can be counted."""
        return self.part != "oos" and not self.unreadable and not (self.is_part and self.examples.multi_label)

    def frame(self) -> pd.DataFrame:
        """Return the table for Great Expectations.

        Blank texts and missing labels are null. `row` counts from 0.
        """
        if self.unreadable:
            return pd.DataFrame()
        texts = [None if is_blank(text) else _encodable(text) for text in self.examples.texts]
        columns: dict[str, Any] = {
            "row": range(len(texts)),
            "text": texts,
            "normalized_text": [text and copy_key(text) for text in texts],
        }
        if self.part != "oos":
            columns["label"] = [_encodable(", ".join(names)) or None for names in self.examples.labels]
        measured = {check: pd.array(numbers, dtype="Int64") for check, numbers in self.measures.items()}
        return pd.DataFrame(columns | measured)


@dataclass(frozen=True)
class Finding:
    """The result of one expectation.

    Attributes:
        check: The name of the check, or of the project's own expectations the type.
        stops: Whether the run stops if it is not met.
        met: Whether it is met.
        count: Rows or labels that do not meet it.
        places: These rows, at most `MAX_ROWS`, as indices into the table. Of labels, the first row
            with each.
        missing: Of a set of labels, the first that are missing.
        arguments: The arguments of the expectation, for the Data Docs.
        type: The name of the expectation in Great Expectations.
    """

    check: str
    stops: bool
    met: bool
    count: int
    places: Sequence[int]
    missing: Sequence[str]
    arguments: Mapping[str, Any]
    type: str


def check_table(
    table: Table, limits: Validate, stops: Callable[[str], bool], own: Sequence[Mapping[str, Any]] = ()
) -> list[Finding]:
    """Return the findings of the suite for `table`. For a part, add those of the project's suite.

    `stops` returns whether a check stops the run if it fails. `own` is what `load_suite` returns.

    Raises:
        InputError: If an expectation of the project's own suite cannot be evaluated.
    """
    suites = [gx.ExpectationSuite(table.name, list(_expectations(table, limits, stops)))]
    if own and table.is_part and not table.unreadable:
        suites.append(_own_suite(own, table.part))
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("raw").add_dataframe_asset(table.name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table.frame()})
    wanted = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": ["row"],
        "partial_unexpected_count": MAX_ROWS,
    }
    return [
        _finding(table, result, suite.name == OWN)
        for suite in suites
        if suite.expectations
        for result in batch.validate(suite, result_format=wanted).results
    ]


def load_suite(path: Path) -> list[dict[str, Any]]:
    """Return the project's own expectations, from a JSON file in the format of Great Expectations.

    Raises:
        InputError: If the file is missing, or is not a suite.
    """
    try:
        expectations: list[dict[str, Any]] = read_json(path)["expectations"]
        for tree in expectations:  # a suite would only log what it cannot use
            ExpectationConfiguration(**tree).to_domain_obj()
        return expectations
    except FileNotFoundError:
        reason = "the file does not exist"
    except (GreatExpectationsError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = excerpt(" ".join(str(list(causes(error))[-1]).split()), 300)
    raise InputError(
        f"validate.suite is {excerpt(str(path), 200)}: {reason}; "
        'give a JSON file with a list "expectations" as Great '
        "Expectations writes it"
    )


def _expectations(table: Table, limits: Validate, stops: Callable[[str], bool]) -> Iterator[Expectation]:
    rule = rules(limits, table.part)

    def options(check: str) -> dict[str, Any]:
        severity = "critical" if stops(check) else "warning"
        return {
            "severity": severity,
            "meta": {"check": check},
            "description": rule[check].holds if check in rule else None,
        }

    if table.is_part:
        columns = ["text"] if table.part == "oos" else ["text", "label"]
        yield gxe.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=False, **options("columns"))
    if table.unreadable:
        return
    if table.is_part:
        yield gxe.ExpectColumnValuesToNotBeNull(column="text", **options("empty"))
        yield gxe.ExpectColumnValueLengthsToBeBetween(
            column="text", max_value=limits.max_characters, **options("overlong")
        )
        if table.has_classes:
            yield gxe.ExpectColumnValuesToNotBeNull(column="label", **options("unlabelled"))
        if table.part == "train":
            yield gxe.ExpectColumnValuesToBeUnique(column="normalized_text", **options("duplicate"))
    for check in table.measures:
        yield gxe.ExpectColumnValuesToBeBetween(
            column=check,
            min_value=rule[check].low,
            max_value=rule[check].high,
            mostly=1 - USUAL.get(check, 0.0),
            **options(check),
        )
    if table.has_classes:
        yield from _label_expectations(table, limits, options)


def _label_expectations(
    table: Table, limits: Validate, options: Callable[[str], dict[str, Any]]
) -> Iterator[Expectation]:
    if table.part == "train":
        yield gxe.ExpectColumnUniqueValueCountToBeBetween(
            column="label", min_value=2, max_value=limits.max_classes, **options("classes")
        )
    if table.known_labels:
        yield gxe.ExpectColumnDistinctValuesToBeInSet(
            column="label", value_set=list(map(_encodable, table.known_labels)), **options("unknown_label")
        )
    if table.champion_labels:
        yield gxe.ExpectColumnDistinctValuesToContainSet(
            column="label",
            value_set=list(map(_encodable, table.champion_labels)),
            **options("vanished_label"),
        )


def _own_suite(own: Sequence[Mapping[str, Any]], part: str) -> gx.ExpectationSuite:
    """Return the project's own suite for a part.

    For oos, omit expectations on the column `label`.
    """
    wanted = [dict(tree) for tree in own if part != "oos" or "label" not in tree.get("kwargs", {}).values()]
    return gx.ExpectationSuite(OWN, wanted)


def _finding(table: Table, result: ExpectationValidationResult, is_own: bool) -> Finding:
    config = result.expectation_config
    assert config is not None
    check = config.type if is_own else config.meta["check"]
    if not result.result:
        if is_own:
            raise InputError(
                f"validate.suite: {check} cannot be evaluated for {table.file}; columns: {', '.join(COLUMNS)}"
            )
        raise RuntimeError(f"Great Expectations could not evaluate '{check}': {result.exception_info}")
    found = result.result
    count = found.get("unexpected_count", found.get("missing_count", int(not result.success)))
    places: Sequence[int] = [
        int(cells["row"]) for cells in (found.get("unexpected_index_list") or [])[:MAX_ROWS]
    ]
    missing: Sequence[str] = ()
    if check == "duplicate" and count:
        # Great Expectations counts the first row of each text too. The report is about the rows to
        # remove.
        places = [i for i, copies in enumerate(count_earlier_copies(table.examples.texts)) if copies]
        count = len(places)
    elif check == "unknown_label":
        places = _first_rows(table, set(class_names(table.examples.labels)) - set(table.known_labels))
    elif check == "vanished_label":
        missing = sorted(set(table.champion_labels) - set(class_names(table.examples.labels)))
    return Finding(
        check=check,
        stops=config.severity == "critical",
        met=bool(result.success),
        count=int(count),
        places=places[:MAX_ROWS],
        missing=missing[:MAX_LABELS],
        arguments={key: value for key, value in config.kwargs.items() if key != "batch_id"},
        type=config.type,
    )


def _first_rows(table: Table, labels: set[str]) -> list[int]:
    """Return the index of the first row with each of `labels`."""
    first: dict[str, int] = {}
    for i, names in enumerate(table.examples.labels):
        for name in names:
            first.setdefault(name, i)
    return sorted(first[name] for name in labels)


def _encodable(text: str) -> str:
    """Return `text` with a question mark for each lone surrogate: string columns allow none."""
    return text.encode("utf-8", "replace").decode()
