from __future__ import annotations

from tokensieve.counted import counted


def test_a_noun_has_the_number_of_what_is_counted() -> None:
    assert [counted(number, "row") for number in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]
