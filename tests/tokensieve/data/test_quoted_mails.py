from __future__ import annotations

import pytest

from tokensieve.data.quoted_mails import count_quoted_lines

MAIL = "Thanks!\n-- \nAnn\nOn Monday, Bob wrote:\n> where is it\n>> my card\n-----Original Message-----"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (MAIL, 5),
        ("Danke\nAm 3. Mai schrieb Bob:\n> wo ist es", 2),
        ("> where is it", 1),
        ("a -> b\nx > y\non time - he wrote a lot", 0),
        ("", 0),
    ],
)
def test_lines_of_other_mails_and_signatures_are_counted(text: str, lines: int) -> None:
    assert count_quoted_lines(text) == lines
