"""The search with the real Optuna, on a figure that costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.sweeps.search import BATCH, search
from tasks.sweeps.space import Changes, Choices, Range, Space

SPACE: Space = (
    Range("finetune.learning_rate", 1e-4, 1e-2, is_whole=False),
    Range("finetune.max_epochs", 1, 30, is_whole=True),
    Choices("mask.unit", ("rows", "columns")),
)


def figure(changes: Changes) -> float:
    values = dict(change.split("=") for change in changes)
    bonus = 0.1 if values["mask.unit"] == "columns" else 0.0
    distance = abs(float(values["finetune.learning_rate"]) - 2e-3) * 50
    return 1 - distance - abs(int(values["finetune.max_epochs"]) - 12) / 30 + bonus


class Measured:
    """Remembers what was measured, and is killed before measuring number `kill`."""

    def __init__(self, kill: int = 10**6) -> None:
        self.calls: list[list[Changes]] = []
        self.kill = kill

    def __call__(self, batch: Sequence[Changes]) -> list[float]:
        if len(self.calls) == self.kill:
            raise KeyboardInterrupt
        self.calls.append(list(batch))
        return [figure(changes) for changes in batch]


def test_the_search_finds_better_combinations_than_it_starts_with(tmp_path: Path) -> None:
    first = {"finetune.learning_rate": 1e-3, "finetune.max_epochs": 10, "mask.unit": "rows"}
    measured = Measured()
    found = search(tmp_path / "journal", "a", SPACE, 40, first, measured)
    assert measured.calls[0][0] == (
        "finetune.learning_rate=0.001",
        "finetune.max_epochs=10",
        "mask.unit=rows",
    )
    assert sum(map(len, measured.calls)) == 40 and len(found) <= 40
    assert max(map(figure, found)) > max(figure(changes) for batch in measured.calls[:2] for changes in batch)


def test_a_killed_search_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    whole = Measured()
    expected = search(tmp_path / "whole", "a", SPACE, 18, None, whole)

    for kill in (0, 1, 3):
        journal = tmp_path / f"killed {kill}"
        with pytest.raises(KeyboardInterrupt):
            search(journal, "a", SPACE, 18, None, Measured(kill))
        rest = Measured()
        assert search(journal, "a", SPACE, 18, None, rest) == expected
        known = [changes for batch in whole.calls[:kill] for changes in batch]
        assert rest.calls == [known] * bool(known) + whole.calls[kill:]


def test_more_trials_go_on_and_another_name_starts_anew(tmp_path: Path) -> None:
    few, more, other = Measured(), Measured(), Measured()
    journal = tmp_path / "journal"
    first = search(journal, "a", SPACE, 6, None, few)
    assert search(journal, "a", SPACE, 6, None, Measured(1)) == first
    assert search(journal, "a", SPACE, 10, None, more)[: len(first)] == first
    assert [len(batch) for batch in few.calls + more.calls] == [BATCH, 2, 6, 2, 2]
    assert search(journal, "b", SPACE, 6, None, other) == first
