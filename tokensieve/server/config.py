"""Settings of the HTTP server.

Imports nothing heavy: the command line reads the defaults from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokensieve.server.model_watcher import ModelSource


@dataclass(frozen=True)
class Limits:
    """What the server accepts; it refuses requests beyond these limits.

    MiniLM on 2 cores needs half a second for 128 questions, and 5 s for 128 texts of 128 tokens.
    """

    max_texts: int = 128  # per request
    max_characters: int = 20_000  # per text
    max_body: int = 1_048_576  # bytes per request
    max_queue: int = 1_024  # texts waiting for computation
    timeout: float = 30.0  # seconds for each of: head, body, computation, reading of the response
    max_candidates: int = 20_000  # labels named in one answer, over all its texts
    max_held: int = 16_777_216  # bytes of all unanswered requests and all unread answers together
    max_connections: int = 512
    max_feedback: int = 67_108_864  # bytes of the feedback file


@dataclass(frozen=True)
class ServerConfig:
    """Address, use of cores, proxy and TLS of a server.

    `workers` computations run at the same time, each on `threads` threads. With 0 workers there are
    as many as fit the cores, which gives the highest throughput. One worker with all cores gives
    the shortest time for a long text.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 0
    threads: int = 1
    max_batch_tokens: int = 512  # tokens computed together; a single text may have more
    poll_interval: float = 0.0  # seconds between checks for a newer model; 0: the source's own
    keep_alive: int = 75  # seconds until an idle connection is closed; load balancers use 60
    grace: int = 10  # seconds to finish requests in progress after SIGTERM
    root_path: str = ""  # path prefix of a proxy in front
    cors_origins: tuple[str, ...] = ()  # origins whose pages may send requests; empty: CORS is off
    console: bool = True  # the web page at /
    tls_certificate: Path | None = None
    tls_key: Path | None = None


@dataclass(frozen=True)
class ShadowConfig:
    """The challenger that is compared with the served model.

    Attributes:
        source: Where challengers come from.
        report: The file of the `ShadowReport`.
        share: The share of texts that the challenger gets, above 0, at most 1.
    """

    source: ModelSource
    report: Path
    share: float = 0.1
