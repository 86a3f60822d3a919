from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.errors import InputError, excerpt, printable


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("card", "'card'"),
        (7, "'7'"),
        (None, "'None'"),
        ("it's", '"it\'s"'),
        ("größe", "'größe'"),
        ("a\nb", "'a\\nb'"),
        ("é\x7f", "'\\xe9\\x7f'"),
    ],
)
def test_a_short_value_is_quoted(value: object, shown: str) -> None:
    assert excerpt(value) == shown


def test_a_long_value_is_cut_and_its_quote_closed() -> None:
    assert excerpt("x" * 100, 10) == "'xxxxxxxx…'"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(5, 80))
def test_an_excerpt_is_one_line_within_its_width(text: str, width: int) -> None:
    shown = excerpt(text, width)
    assert len(shown) <= width + 1
    assert len(shown.splitlines()) == 1
    assert shown.isprintable()


@given(st.text())
def test_what_is_printable_stays(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown


def test_control_characters_and_undecodable_bytes_are_escaped() -> None:
    assert printable("größe \x1b[2J \udce9") == r"größe \x1b[2J \udce9"
