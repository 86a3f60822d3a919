"""The error for invalid input. Its message names the file or key, the value, and the remedy."""

from collections.abc import Iterable, Iterator
from typing import Any


class InputError(ValueError):
    """Invalid input or an invalid setting.

    Commands print the message as one line and end with exit status 2. `detail` may quote the user's
    texts. It is printed to the user but is not part of the message, because messages are logged.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class Refused(InputError):  # noqa: N818
    """A rule refuses a valid request, for example the gate a challenger.

    Commands print its message and its detail, and end with exit status 1. `report` is the report of
    the gate as JSON, if that refused it. `is_known` is set if the same was refused before.
    """

    def __init__(self, message: str, detail: str = "", report: dict[str, Any] | None = None) -> None:
        super().__init__(message, detail)
        self.report = report
        self.is_known = False

    @property
    def reason(self) -> str | None:
        """The message without the remedy. None: the report has the reason."""
        return None if self.report else str(self).partition("; ")[0]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, then the one that it was raised from or during, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def excerpt(text: object, width: int = 60) -> str:
    """Return `text` in quotes for a message: one line of at most `width` characters.

    Control characters are escaped.
    """
    line = ascii(str(text)) if any(ord(c) < 32 or c == "\x7f" for c in str(text)[:width]) else repr(str(text))
    return line if len(line) <= width else f"{line[: width - 1]}…{line[0]}"


def printable(text: str) -> str:
    """Return `text` with all characters escaped that Python does not print.

    A terminal would obey control characters, and undecodable bytes of a file name cannot be written
    as UTF-8. Unusual spaces are escaped, too.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question with the known word that is most similar to `word`, and a space after it.

    Empty if none is similar.
    """
    import difflib  # for messages only

    close = difflib.get_close_matches(word, list(known), 1)
    return f"Did you mean '{close[0]}'? " if close else ""
