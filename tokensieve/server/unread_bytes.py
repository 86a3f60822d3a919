"""The bytes that the service holds for its clients, counted over all connections, so that their sum has a limit."""

from __future__ import annotations

from typing import Protocol


class UnreadTransport(Protocol):
    """A transport whose client has not read all of its answer."""

    def get_write_buffer_size(self) -> int: ...


class TooManyBytes(Exception):  # noqa: N818 - a state, not a fault
    """The service holds as many bytes as it may."""


class HeldBytes:
    """Counts bytes of requests that are not answered yet, and of answers that are not read yet.

    `heads` is counted apart: heads arrive before the key is known, so they must not take the room of requests with the key. So is
    `pipelined`, the number of requests that wait for the answer to an earlier one of their connection.
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
            Overfull: If the service would hold more than it may. A single request always fits, however large.
        """
        held = self.bodies + sum(transport.get_write_buffer_size() for transport in self.unread)
        if held and held + size > self.most:
            raise TooManyBytes
        self.bodies += size

    def give_back(self, size: int) -> None:
        """Stop counting `size` bytes of a body: its request has been answered."""
        self.bodies -= size
