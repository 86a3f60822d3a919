"""The model that answers now, exchanged for a newer one while requests go on."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tokensieve.errors import InputError
from tokensieve.served import Model, load, manifest_of

log = logging.getLogger("tokensieve")

PROBE = "Is this model whole?"
WARM = (8, 16, 32)  # tokens
PATIENCE = 60.0  # seconds between two tries of a model that failed, at most


class Source(Protocol):
    """Where models come from, by version."""

    @property
    def interval(self) -> float:
        """Seconds to wait between two looks at the version."""

    @property
    def stale(self) -> str | None:
        """Why the version last returned may be old: the source gives no answer. None: it answered."""

    def version(self) -> str:
        """The version to serve now. Raises InputError: there is none, or the source gives no answer."""

    def fetch(self, version: str) -> Path:
        """The served folder of that version. Raises InputError: it is gone, or not whole."""


@dataclass(frozen=True)
class Folder:
    """A served folder that an export replaces; its version is that of its manifest, which holds the hashes of all files."""

    path: Path
    interval: float = 2.0
    stale: str | None = None

    def version(self) -> str:
        path = manifest_of(self.path)
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except OSError:
            raise InputError(
                f"{self.path} holds no {path.name}, which an export writes last; give the folder of a finished export"
            ) from None

    def fetch(self, version: str) -> Path:
        return self.path


@dataclass(frozen=True)
class Loaded:
    """A model in memory that has answered a probe."""

    model: Model
    version: str


class Live:
    """`current` is what answers; `trouble` says why a newer model does not (None: there is none).

    `looked`: when the source was last asked for its version and answered, in seconds since 1970; None: it has not yet.
    """

    def __init__(self, source: Source, threads: int) -> None:
        """Load what the source has now, to compute with `threads` threads a run.

        Raises:
            InputError: as the source and `model.load`, or the model has no answer to a probe.
        """
        self._source, self._threads = source, threads
        self._stopped = threading.Event()
        self.looked: float | None = None
        self.swaps = {"taken": 0, "refused": 0}
        self.current = self._load(source.version())
        self.trouble: str | None = source.stale
        if not source.stale:
            self.looked = time.time()

    def check(self) -> bool:
        """Take the source's version, if it is another one than the current; whether all is well."""
        try:
            version = self._source.version()
            if not self._source.stale:
                self.looked = time.time()
            if version != self.current.version:
                loaded = self._load(version)
                log.info("model %s answers instead of %s", version, self.current.version)
                self.current = loaded
                self.swaps["taken"] += 1
            if self._source.stale:
                raise InputError(self._source.stale)
        except Exception as error:  # whatever a half-written model or a lost registry raises: the one before goes on answering
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            if reason != self.trouble:
                log.warning("model %s goes on answering: %s", self.current.version, reason)
                self.swaps["refused"] += 1
            self.trouble = reason
            return False
        self.trouble = None
        return True

    def follow(self, interval: float = 0.0) -> threading.Thread:
        """Check every `interval` seconds (0: as the source says), on a thread of its own, until `stop`."""

        def watch() -> None:
            wait = every = interval or self._source.interval
            while not self._stopped.wait(wait):
                wait = every if self.check() else max(every, min(PATIENCE, wait * 2))

        thread = threading.Thread(target=watch, name="follow", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End following."""
        self._stopped.set()

    def _load(self, version: str) -> Loaded:
        folder = self._source.fetch(version)
        model = load(folder, self._threads)
        longest = min(manifest.max_length for manifest in model.tasks.values())
        # The graph plans its memory for each length it meets; the first requests should not wait for it.
        for length in WARM:
            model.run([[0] * min(length, longest)])
        if not np.isfinite(model.run([text.ids for text in model.encode([PROBE])])).all():
            raise InputError(f"the model in {folder} gives no finite logits; export it again")
        if self._source.version() != version:
            raise InputError(f"{folder} changed while it was read; it is tried again")
        return Loaded(model, version)
