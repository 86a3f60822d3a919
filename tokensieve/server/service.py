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
    seconds: float = 30.0  # for a body to arrive, and for an answer to be made


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
    certificate: Path | None = None
    private_key: Path | None = None
