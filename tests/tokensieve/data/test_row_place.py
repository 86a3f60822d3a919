from __future__ import annotations

import pytest

from tokensieve.data.examples import Examples
from tokensieve.data.row_place import row_place


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"row": 3}, "row 3"),
        ({"row": 3, "line": None, "id": ""}, "row 3"),
        ({"row": 3, "line": 7}, "line 7"),
        ({"row": 3, "id": "T5"}, "row 3, id 'T5'"),
        ({"row": 3, "line": 7, "id": "T\n" + "5" * 50, "label": "a"}, f"line 7, id 'T\\n{'5' * 35}…'"),
    ],
)
def test_a_line_goes_before_a_row_and_the_id_comes_last(row: dict[str, object], place: str) -> None:
    assert row_place(row) == place


def test_examples_name_their_rows_so() -> None:
    found = Examples(["a", "b"], [("x",), ("y",)], [4, 9], ids=["T4", ""], lines=[5, 12])
    assert [found.place(0), found.place(1)] == ["line 5, id 'T4'", "line 12"]
