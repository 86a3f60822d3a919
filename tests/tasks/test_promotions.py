from __future__ import annotations

from typing import Any

from tasks.promotions import REMEMBERED, champions, noted


def after(*moves: tuple[str, str, str | None]) -> list[dict[str, Any]]:
    notes: list[dict[str, Any]] = []
    for move in moves:
        notes = noted(notes, *move)
    return notes


def test_a_rollback_takes_the_last_champion_away() -> None:
    notes = after(("promote", "1", None), ("promote", "2", "1"), ("promote", "1", "2"))
    assert champions(notes) == ["1", "2", "1"]
    assert champions(noted(notes, "rollback", "2", "1")) == ["1", "2"]
    assert champions([]) == []


def test_a_champion_set_without_a_note_counts_from_when_it_is_replaced() -> None:
    assert champions(after(("promote", "5", "4"))) == ["4", "5"]
    assert champions(after(("promote", "1", None), ("promote", "5", "4"))) == ["1", "4", "5"]


def test_what_is_forgotten_leaves_the_rest_right() -> None:
    notes = after(*(("promote", str(number), str(number - 1)) for number in range(1, REMEMBERED + 10)))
    assert len(notes) == REMEMBERED
    assert champions(notes) == [str(number) for number in range(9, REMEMBERED + 10)]
    # A rollback whose promotions are forgotten: all that is known is the champion it made.
    assert champions(after(("rollback", "3", "4"), ("promote", "5", "3"))) == ["3", "5"]
