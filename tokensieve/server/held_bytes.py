"""Count the bytes that the server holds for all its clients together, to limit them."""

from __future__ import annotations

from typing import Protocol


class UnreadTransport(Protocol):
    """A transport whose client has not read all of its response."""

    def get_write_buffer_size(self) -> int: ...


class TooManyBytes(Exception):  # noqa: N818 - a state, not a fault
    """The server holds as many bytes as it may."""


class HeldBytes:
    """Count the bytes of unanswered requests and of unread responses.

    Attributes:
        most: The most bytes of bodies and unread responses together.
        bodies: Bytes of the bodies of unanswered requests.
        heads: Bytes of request heads. They arrive before the API key is checked, so they have a
            limit of their own.
        pipelined: Requests that wait for the response to an earlier request of their connection.
        unread: Transports with unread responses.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.bodies = 0
        self.heads = 0
        self.pipelined = 0
        self.unread: set[UnreadTransport] = set()

    def take(self, size: int) -> None:
        """Count `size` more bytes of a body.

        Raises:
            TooManyBytes: If the server would hold more than `most`. A single request is always
                accepted.
        """
        total = self.bodies + sum(transport.get_write_buffer_size() for transport in self.unread)
        if total and total + size > self.most:
            raise TooManyBytes
        self.bodies += size

    def give_back(self, size: int) -> None:
        """Stop counting `size` bytes of a body, whose request has been answered."""
        self.bodies -= size
