"""The text that a model reads of a row, equally in training and in serving.

A model may read several columns, such as subject and body. Their values are joined by a line feed,
in the order of the columns. Blank values are left out. Then the text is cleaned as
`data.clean` requires.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokensieve.cleaning import HTML, NONE, strip_html
from tokensieve.errors import InputError, excerpt

JOINT = "\n"
SHOWN = 10  # columns that a message names

TextOrColumns = str | Mapping[str, str | None]
"""A text, or the values of a row by column, for a model that reads several columns."""


@dataclass(frozen=True)
class TextRule:
    """How a row becomes a text.

    Attributes:
        columns: The columns that are joined, at least two. Empty: a model of one text.
        clean: What is stripped from the joined text: none, or html (`cleaning.py`).
    """

    columns: tuple[str, ...] = ()
    clean: str = NONE

    def cleaned(self, text: str) -> str:
        """Return a joined text as the model reads it. A text that is clean already stays."""
        return strip_html(text) if self.clean == HTML else text

    def all_cleaned(self, texts: Sequence[str]) -> Sequence[str]:
        """Return joined texts as the model reads them.

        Raises:
            TypeError: If `texts` is not a list of texts.
        """
        _check_list(texts)
        return texts if self.clean == NONE else list(map(self.cleaned, texts))

    def texts(self, given: Sequence[TextOrColumns], name: str = "texts") -> list[str]:
        """Return the text of each item of `given`, which has the name `name` in messages.

        Raises:
            InputError: If `text` raises it.
            TypeError: If `given` is not a list of texts.
        """
        _check_list(given)
        return [
            item if isinstance(item, str) else self.text(item, f"{name}[{place}]")
            for place, item in enumerate(given)
        ]

    def text(self, given: TextOrColumns, name: str = "text") -> str:
        """Return the text of a row. A string is returned as it is: it is joined already.

        Raises:
            InputError: If it is neither a text nor an object, or if the row lacks a column, has
                another one, or a value that is not a text.
        """
        if isinstance(given, str):
            return given
        if not isinstance(given, Mapping):
            raise InputError(f"{name} is {excerpt(given)}; give {self.accepted}")
        if not self.columns:
            raise InputError(f"{name} is an object; the model reads one text per row: give a string")
        return join_columns([self._value(given, column, name) for column in self._checked(given, name)]) or ""

    def _checked(self, given: Mapping[str, Any], name: str) -> tuple[str, ...]:
        for column in self.columns:
            if column not in given:
                raise InputError(f"{name} has no {excerpt(column, 100)}; {self._wanted()}")
        if len(given) > len(self.columns):
            other = next(key for key in given if key not in self.columns)
            raise InputError(f"{name} has {excerpt(other, 100)}; {self._wanted()}")
        return self.columns

    def _value(self, given: Mapping[str, Any], column: str, name: str) -> str | None:
        value = given[column]
        if value is not None and not isinstance(value, str):
            raise InputError(f"{name}: {excerpt(column, 100)} is not a text; give a string, or null")
        return value

    @property
    def accepted(self) -> str:
        """What a text may be, in a message."""
        return f"a string or an object with the columns {self._shown()}" if self.columns else "a string"

    def _wanted(self) -> str:
        return f"the model reads the columns {self._shown()}"

    def _shown(self) -> str:
        return ", ".join(excerpt(column, 100) for column in self.columns[:SHOWN])


def _check_list(texts: object) -> None:
    """Raise TypeError for a single text or row, and for a table: its items are its column names."""
    if isinstance(texts, str | bytes):
        raise TypeError("texts is one text; give a list of texts")
    if isinstance(texts, Mapping):
        raise TypeError("texts is one row; give a list of rows")
    if hasattr(texts, "columns"):
        raise TypeError("texts is a table; give a list of texts, for example table['text'].tolist()")


def join_columns(values: Sequence[str | None]) -> str | None:
    """Return the text of a row from its values, None if all of them are absent.

    A single value is the text as it is.
    """
    if len(values) == 1:
        return values[0]
    present = [value for value in values if value is not None]
    return JOINT.join(value for value in present if value.strip()) if present else None
