"""The model that answers now, exchanged for a newer one while requests go on."""

from __future__ import annotations

import errno
import gc
import hashlib
import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from tokensieve.errors import InputError
from tokensieve.inference.load import Model, load, manifest_of
from tokensieve.server.response import response_body

log = logging.getLogger("tokensieve")

PROBE = "Is this model whole?"
WARM = (8, 16, 32)  # tokens
PATIENCE = 60.0  # seconds between two tries of a model that failed, at most
SLOW = 120.0  # seconds after which a look at the source that has not ended counts as trouble


class ModelSource(Protocol):
    """Where models come from, by version."""

    @property
    def interval(self) -> float:
        """Seconds to wait between two looks at the version."""

    @property
    def stale(self) -> str | None:
        """Why the version last returned may be old: the source gives no answer. None: it answered."""

    def version(self) -> str:
        """The version to serve now. Raises InputError: there is none, or the source gives no answer."""

    def identity(self, version: str) -> str:
        """Return what tells that version from another one of the same name. Raises InputError: If there is no such version."""

    def fetch(self, version: str) -> Path:
        """The served folder of that version. Raises InputError: it is gone, or not whole."""


@dataclass(frozen=True)
class FolderSource:
    """A served folder that an export replaces; its version is that of its manifest, which holds the hashes of all files."""

    path: Path
    interval: float = 2.0
    stale: str | None = None

    def version(self) -> str:
        path = manifest_of(self.path)
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"{self.path} holds no {path.name}, which an export writes last; give the folder of a finished export"
            ) from None
        except OSError as error:
            raise _unreadable(error) from None

    def identity(self, version: str) -> str:
        return version

    def fetch(self, version: str) -> Path:
        return self.path


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory that has answered a probe."""

    model: Model
    version: str
    identity: str


class ModelWatcher:
    """`current` is what answers; `trouble` says why a newer model does not (None: there is none).

    `looked`: when the source was last asked for its version and answered, in seconds since 1970; None: it has not yet.
    """

    def __init__(self, source: ModelSource, threads: int) -> None:
        """Load what the source has now, to compute with `threads` threads a run.

        Raises:
            InputError: as the source and `model.load`, or the model has no answer to a probe.
        """
        self._source, self._threads = source, threads
        self._stopped = threading.Event()
        self._trouble: str | None = None
        self._before: Callable[[], Model | None] = lambda: None
        self._began: float | None = None  # when the look that goes on now began
        self.looked: float | None = None
        self.swaps = {"taken": 0, "refused": 0}
        try:
            self.current = self._load(*self._look())
        except OSError as error:
            raise _unreadable(error) from error
        if source.stale:
            self._trouble = source.stale
            log.warning("model %s answers: %s", self.current.version, source.stale)

    @property
    def trouble(self) -> str | None:
        """Why the newest model does not answer, or is not known; None if it does."""
        began = self._began
        if began is not None and (seconds := time.monotonic() - began) > SLOW:
            return f"the look for a newer model that began {seconds:.0f} s ago has not ended"
        return self._trouble

    @property
    def checked_at(self) -> str | None:
        """The time of the last good look at the source, in ISO 8601; None: there was none."""
        return datetime.fromtimestamp(self.looked, UTC).isoformat(timespec="seconds") if self.looked else None

    def check(self) -> bool:
        """Take the source's version, if it is another one than the current; whether all is well."""
        self._began = time.monotonic()
        try:
            version, identity = self._look()
            # A registry that is made anew counts from 1 again, so the version alone does not tell.
            if (version, identity) != (self.current.version, self.current.identity) and not self._in_use():
                loaded = self._load(version, identity)
                before = (
                    self.current.version
                    if version != self.current.version
                    else "an earlier model of that version"
                )
                log.info("model %s answers instead of %s", version, before)
                self._before = weakref.ref(self.current.model)
                self.current = loaded
                self.swaps["taken"] += 1
        except Exception as error:  # whatever a half-written model or a lost registry raises: the one before goes on answering
            return self._note(str(_unreadable(error) if isinstance(error, OSError) else _reason(error)))
        finally:
            self._began = None
        if self._source.stale:
            return self._note(self._source.stale)
        self._trouble = None
        return True

    def _in_use(self) -> bool:
        """Return whether requests still wait for the model before the current one: a third one would take the memory of three."""
        if self._before() is None:
            return False
        gc.collect()
        return self._before() is not None

    def _note(self, reason: str) -> bool:
        if reason != self._trouble:
            log.warning("model %s goes on answering: %s", self.current.version, reason)
            self.swaps["refused"] += 1
        self._trouble = reason
        return False

    def _look(self) -> tuple[str, str]:
        """Return the source's version and its identity."""
        version = self._source.version()
        identity = self._source.identity(version)
        if not self._source.stale:
            self.looked = time.time()
        return version, identity

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

    def _load(self, version: str, identity: str) -> LoadedModel:
        folder = self._source.fetch(version)
        model = load(folder, self._threads)
        try:
            _probe(model, version)
        except Exception as error:
            raise InputError(
                f"the model in {folder} fails on a test text: {_reason(error)}; export it again"
            ) from None
        if self._look() != (version, identity):
            raise InputError(f"{folder} changed while it was read; it is tried again")
        return LoadedModel(model, version, identity)


def _probe(model: Model, version: str) -> None:
    """Compute and write whole answers, as requests will need them.

    Raises:
        Exception: Whatever a request would fail with.
    """
    # All tasks of a model read the same tokens.
    longest = min(manifest.max_length for manifest in model.tasks.values())
    # The graph plans its memory for each length it meets; the first requests should not wait for it.
    for length in (*WARM, longest):
        if not np.isfinite(model.run([[0] * min(length, longest)])).all():
            raise InputError("it gives no finite logits")
    encoded = model.encode([PROBE])
    logits = model.run([text.ids for text in encoded])
    if not np.isfinite(logits).all():
        raise InputError("it gives no finite logits")
    response_body(
        model.answers_by_task(logits, [text.truncated for text in encoded], model.classes),
        True,
        model,
        version,
    )


def _reason(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, InputError)
        else f"{type(error).__name__}: {' '.join(str(error).split())}"
    )


def _unreadable(error: OSError) -> InputError:
    """Return the message for a file that the system does not let us read or write: which file, why, and the remedy."""
    remedies = {
        errno.EACCES: "allow it for the user of this process",
        errno.EPERM: "allow it for the user of this process",
        errno.EROFS: "mount it writable, or start in another folder",
        errno.ENOSPC: "free space on its disk",
        errno.EDQUOT: "free space on its disk",
        errno.EMFILE: "allow more open files (ulimit -n)",
        errno.ENFILE: "allow more open files on this machine",
    }
    name = f"{error.filename}: " if error.filename else ""
    remedy = remedies.get(error.errno or 0, "check the disk")
    return InputError(f"{name}{error.strerror or type(error).__name__}; {remedy}")
