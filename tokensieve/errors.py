"""The error for bad input: it names the file, row, key or value, what is allowed, and the remedy."""

from collections.abc import Iterator


class InputError(ValueError):
    """Bad input or a bad setting.

    Commands print its message as one line and end with exit status 2.

    `detail` may quote users' texts: it is printed to the user, and kept out of the message, which
    gets logged.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, then the one that it was raised from or during, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def excerpt(text: object, width: int = 60) -> str:
    """`text` quoted for a message: one line, control characters escaped, at most `width` characters."""
    line = ascii(str(text)) if any(ord(c) < 32 or c == "\x7f" for c in str(text)[:width]) else repr(str(text))
    return line if len(line) <= width else f"{line[: width - 1]}…{line[0]}"
