"""Find a quote that is never closed, without reading the rest of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST = 2**22  # characters of a row of several lines; "War and Peace" has 3 million

# From after an opening quote: two quotes are one of the text.
CLOSING = re.compile(r'[^"]*+(?:""[^"]*+)*+"')


class OpenQuoteError(ValueError):
    """A row has more characters than `MOST`, and a quote in it is still open."""


@dataclass
class RowLines:
    """The lines of the row that is being read.

    Attributes:
        separator: The character between two cells.
    """

    separator: str = ","
    _lines: list[str] = field(default_factory=list)
    _size: int = 0

    def feed(self, lines: Iterator[str]) -> Iterator[str]:
        """Yield lines to a reader of rows, and keep them until `end_row`.

        Raises:
            OpenQuoteError: If the row is not at its end after `MOST` characters.
        """
        for line in lines:
            if self._size > MOST:
                raise OpenQuoteError
            self._lines.append(line)
            self._size += len(line)
            yield line

    def end_row(self) -> None:
        """Forget the lines: the reader has returned their row."""
        self._lines.clear()
        self._size = 0

    def opened(self) -> int:
        """Return the line of the row in which its last quote is opened; 0 is its first line."""
        text, place, opened = "".join(self._lines), 0, 0
        next_cell = re.compile(f"[{re.escape(self.separator)}\r\n]")
        while place < len(text):
            if text[place] == '"':
                opened = place
                closing = CLOSING.match(text, place + 1)
                if closing is None:
                    break
                place = closing.end()
            found = next_cell.search(text, place)
            place = found.end() if found else len(text)
        return text.count("\n", 0, opened)
