"""How a service is set up: where it listens, on how many cores it computes, and what it takes on. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What the service takes on; more is refused.

    MiniLM on 2 cores is busy for half a second with 128 questions, and for 5 s with as many texts of 128 tokens.
    """

    texts: int = 128  # a request
    characters: int = 20_000  # a text
    body: int = 1_048_576  # bytes
    queue: int = 1_024  # texts that wait
    seconds: float = 30.0  # for a head or a body to arrive, for an answer to be made, and for it to be read
    candidates: int = 20_000  # labels an answer names in all, over its texts
    held: int = (
        16_777_216  # bytes of all requests that are not answered, and of all answers that are not read
    )
    connections: int = 512


@dataclass(frozen=True)
class Service:
    """Where to listen, on how many cores, behind what.

    `workers` runs of the graph go on at once, of `threads` threads each: 0 workers are as many as there are cores for, which gives the
    most answers a second; one worker of all cores gives a long text its answer soonest. `batch` is the most tokens that are
    computed together.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 0
    threads: int = 1
    batch: int = 512
    interval: float = 0.0  # seconds between two looks for a newer model; 0: as the source says
    keep_alive: int = (
        75  # seconds that an idle connection stays open: longer than the 60 of the usual load balancer
    )
    grace: int = 10  # seconds to finish requests in progress after SIGTERM
    root_path: str = ""  # path prefix of a proxy in front
    origins: tuple[str, ...] = ()  # whose pages may send requests from a browser; none: CORS is off
    certificate: Path | None = None
    private_key: Path | None = None
