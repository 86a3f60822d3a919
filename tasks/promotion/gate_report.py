"""The report of the gate: which rules a challenger keeps, and which it breaks. And its table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tokensieve.errors import Refused

HEAD = ("rule", "value", "limit", "verdict")
PASSED, REFUSED, NOT_COMPARED = "passed", "refused", "not compared"
WIDEST = 60  # characters of a column in the text table; longer cells are wrapped


@dataclass(frozen=True)
class Row:
    """One rule: what was measured, the limit and the verdict.

    `refuses`: it is a reason to refuse.
    """

    rule: str
    value: str
    limit: str
    verdict: str
    refuses: bool = False


@dataclass(frozen=True)
class GateReport:
    """What the gate found about a challenger.

    Attributes:
        model: The name of the registered model.
        challenger: The number of the version.
        champion: The number of the champion. None: there is none.
        at: When it was made, UTC.
        rows: One per rule.
        not_compared: Why the two could not be compared. Empty: they were.
        basis: What the report depends on. If that is the same later, the report still holds.
    """

    model: str
    challenger: str
    champion: str | None
    at: str
    rows: tuple[Row, ...]
    not_compared: str = ""
    basis: Mapping[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> list[Row]:
        """The rows that are a reason to refuse the challenger."""
        return [row for row in self.rows if row.refuses]

    @property
    def refused(self) -> bool:
        """Whether a rule refuses the challenger."""
        return bool(self.reasons)

    @property
    def outcome(self) -> str:
        """Passed, refused or not compared."""
        return REFUSED if self.refused else NOT_COMPARED if self.not_compared else PASSED

    def headline(self) -> str:
        """Return the outcome and its reasons in one sentence."""
        against = f" against champion {self.champion}" if self.champion else ""
        verb = "" if self.outcome == PASSED else "is "
        about = f"gate: version {self.challenger} of model '{self.model}' {verb}{self.outcome}{against}"
        reasons = "; ".join(f"{row.rule}: {row.value}, {row.verdict}" for row in self.reasons)
        return f"{about} ({reasons or self.not_compared})" if reasons or self.not_compared else about

    def check(self) -> None:
        """Check that no rule refuses the challenger.

        Raises:
            Refused: If one does. Its detail is the table.
        """
        if self.refused:
            remedy = "improve the data or the settings, or promote it anyway with --force --reason TEXT"
            raise Refused(f"{self.headline()}; {remedy}", text_table(self), self.tree())

    def tree(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self) | {"outcome": self.outcome, "rows": [asdict(row) for row in self.rows]}

    @classmethod
    def of(cls, tree: Any) -> GateReport | None:
        """Return the report in what `tree` returned. None if it is something else."""
        try:
            values = {key: value for key, value in tree.items() if key != "outcome"}
            return cls(**values | {"rows": tuple(Row(**row) for row in values["rows"])})
        except (AttributeError, KeyError, TypeError):
            return None


def cells(report: GateReport) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row, in the columns `HEAD`."""
    for row in report.rows:
        yield row.rule, row.value, row.limit, row.verdict.upper() if row.refuses else row.verdict


def text_table(report: GateReport) -> str:
    """Return the rows as a plain text table."""
    rows = [[_wrapped(cell) for cell in row] for row in (HEAD, *cells(report))]
    widths = [max(len(line) for row in rows for line in row[place]) for place in range(len(HEAD))]
    return "\n".join(line for row in rows for line in _lines(row, widths))


def _lines(row: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for number in range(max(map(len, row))):
        texts = [cell[number] if number < len(cell) else "" for cell in row]
        yield "  ".join(f"{text:{width}}" for text, width in zip(texts, widths, strict=True)).rstrip()


def _wrapped(cell: str) -> list[str]:
    lines = [""]
    for word in cell.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDEST:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
