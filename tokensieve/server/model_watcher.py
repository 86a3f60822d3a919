"""Hot reload: replace the served model with a newer one while requests go on.

A new model is loaded, warmed up and run once. If any of this fails, the old model stays and the
reason is kept.
"""

from __future__ import annotations

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

from tokensieve.disk import os_error_remedy
from tokensieve.errors import InputError
from tokensieve.inference.load import Model, load, manifest_path
from tokensieve.inference.manifest import no_manifest
from tokensieve.server.response import response_body

log = logging.getLogger("tokensieve")

PROBE = "Is this model whole?"
WARM_UP = (8, 16, 32)  # tokens of texts that are run before the first request
MAX_WAIT = 60.0  # seconds between two tries to load a model that failed, at most
SLOW_CHECK = 120.0  # seconds after which a check for a newer model that has not ended is an error


class ModelSource(Protocol):
    """A place that models come from, by version."""

    @property
    def name(self) -> str:
        """The name of the registered model. Empty if the model is a folder."""

    @property
    def interval(self) -> float:
        """Seconds between two checks for a newer version."""

    @property
    def stale(self) -> str | None:
        """Why the last version may be out of date: the source does not respond. None if it does."""

    def version(self) -> str:
        """Return the version to serve now.

        Raises:
            InputError: If there is none, or the source does not respond.
        """

    def identity(self, version: str) -> str:
        """Return an identifier that differs between two models with the same version name.

        Raises:
            InputError: If there is no such version.
        """

    def fetch(self, version: str) -> Path:
        """Return the exported folder of that version.

        Raises:
            InputError: If it does not exist, or is incomplete.
        """


@dataclass(frozen=True)
class FolderSource:
    """An exported folder that a later export replaces.

    Its version is the first digits of its manifest's SHA-256. The manifest contains the hashes of
    all files.
    """

    path: Path
    interval: float = 2.0
    stale: str | None = None
    name: str = ""

    def version(self) -> str:
        path = manifest_path(self.path)
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except (FileNotFoundError, NotADirectoryError):
            raise no_manifest(path) from None
        except OSError as error:
            raise _unreadable(error) from None

    def identity(self, version: str) -> str:
        return version

    def fetch(self, version: str) -> Path:
        return self.path


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory that has predicted a test text."""

    model: Model
    version: str
    identity: str


class ModelWatcher:
    """Serve the newest model of a source.

    Attributes:
        name: That of the registered model. Empty if the model is a folder.
        current: The model that is served.
        last_checked: When the source last responded, in seconds since 1970; None if never.
        reloads: The number of newer models that were loaded ("taken") or failed ("refused").
    """

    def __init__(self, source: ModelSource, threads: int, prefix: str = "") -> None:
        """Load the current model of the source.

        Args:
            source: Where the model comes from.
            threads: Threads per computation.
            prefix: What messages in the log start with.

        Raises:
            InputError: If the source has no model, its files cannot be loaded, or the model fails
                on a test text.
        """
        self._source, self._threads, self._prefix = source, threads, prefix
        self.name = source.name
        self._stopped = threading.Event()
        self._last_error: str | None = None
        self._before: Callable[[], Model | None] = lambda: None
        self._began: float | None = None  # when the check that is in progress began
        self.last_checked: float | None = None
        self.reloads = {"taken": 0, "refused": 0}
        try:
            self.current = self._load(*self._newest())
        except OSError as error:
            raise _unreadable(error) from error
        if source.stale:
            self._last_error = source.stale
            log.warning("%smodel %s is served: %s", prefix, self.current.version, source.stale)

    @property
    def last_error(self) -> str | None:
        """Why the newest model is not served, or not known; None if it is served."""
        began = self._began
        if began is not None and (seconds := time.monotonic() - began) > SLOW_CHECK:
            return f"the check for a newer model that began {seconds:.0f} s ago has not ended"
        return self._last_error

    @property
    def checked_at(self) -> str | None:
        """`last_checked` in ISO 8601; None if the source has never responded."""
        return (
            datetime.fromtimestamp(self.last_checked, UTC).isoformat(timespec="seconds")
            if self.last_checked
            else None
        )

    def check(self) -> bool:
        """Load the version of the source if it is not the current one.

        Return whether this succeeded.
        """
        self._began = time.monotonic()
        try:
            version, identity = self._newest()
            # A registry that was deleted and created again counts from 1 again, so the version is
            # not enough.
            if (version, identity) != (self.current.version, self.current.identity) and not self._in_use():
                loaded = self._load(version, identity)
                before = (
                    self.current.version
                    if version != self.current.version
                    else "an earlier model of that version"
                )
                log.info("%smodel %s is served instead of %s", self._prefix, version, before)
                self._before = weakref.ref(self.current.model)
                self.current = loaded
                self.reloads["taken"] += 1
        except Exception as error:
            # A half-written model or a lost registry may raise anything: keep the old model.
            return self._record_error(
                str(_unreadable(error) if isinstance(error, OSError) else _reason(error))
            )
        finally:
            self._began = None
        if self._source.stale:
            return self._record_error(self._source.stale)
        self._last_error = None
        return True

    def _in_use(self) -> bool:
        """Return whether requests still use the model before the current one.

        Loading now would need memory for three.
        """
        if self._before() is None:
            return False
        gc.collect()
        return self._before() is not None

    def _record_error(self, reason: str) -> bool:
        if reason != self._last_error:
            log.warning("%smodel %s is still served: %s", self._prefix, self.current.version, reason)
            self.reloads["refused"] += 1
        self._last_error = reason
        return False

    def _newest(self) -> tuple[str, str]:
        """Return the version of the source and its identity."""
        version = self._source.version()
        identity = self._source.identity(version)
        if not self._source.stale:
            self.last_checked = time.time()
        return version, identity

    def follow(self, interval: float = 0.0) -> threading.Thread:
        """Check every `interval` seconds, on a thread of its own, until `stop` is called.

        If `interval` is 0, it is that of the source.
        """

        def watch() -> None:
            wait = every = interval or self._source.interval
            while not self._stopped.wait(wait):
                wait = every if self.check() else max(every, min(MAX_WAIT, wait * 2))

        thread = threading.Thread(target=watch, name="follow", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Stop checking."""
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
        if self._newest() != (version, identity):
            raise InputError(f"{folder} changed while it was read; it will be read again")
        return LoadedModel(model, version, identity)


def _probe(model: Model, version: str) -> None:
    """Run the model and build whole responses, as requests will.

    Raises:
        Exception: Whatever a request would fail with.
    """
    # All tasks of a model read the same number of tokens.
    longest = min(manifest.max_length for manifest in model.tasks.values())
    # ONNX Runtime plans its memory once per text length. Do it before the first requests.
    for length in (*WARM_UP, longest):
        if not np.isfinite(model.run([[0] * min(length, longest)])).all():
            raise InputError("its logits are not finite")
    encoded = model.tokenize([PROBE])
    logits = model.run([text.ids for text in encoded])
    if not np.isfinite(logits).all():
        raise InputError("its logits are not finite")
    response_body(model.decide(logits, encoded, model.classes), True, model, version)


def _reason(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, InputError)
        else f"{type(error).__name__}: {' '.join(str(error).split())}"
    )


def _unreadable(error: OSError) -> InputError:
    """Return the error for a file that cannot be read or written, with a remedy."""
    name = f"{error.filename}: " if error.filename else ""
    return InputError(f"{name}{error.strerror or type(error).__name__}; {os_error_remedy(error)}")
