"""Shadow: compare the served model with a challenger on a share of the requests.

The challenger computes on one thread, and only while the server has nothing else to do: no request
is in progress and the last response is some milliseconds old. Texts wait for that in a queue of
limited size. Texts for which there is no room are dropped and counted. Whatever the challenger
does, no response changes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokensieve.errors import InputError
from tokensieve.inference.load import Model, PredictionsByTask
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.inference.shadow_report import ComparedModel, ShadowReport
from tokensieve.server.config import ShadowConfig
from tokensieve.server.model_watcher import MAX_WAIT, LoadedModel, ModelWatcher
from tokensieve.server.prometheus import ShadowMetrics
from tokensieve.server.shadow_tally import Outcome, Tally

MAX_TEXTS, MAX_CHARACTERS = 256, 262_144  # that wait
QUIET = 0.005  # seconds since the last response after which the challenger computes a text
POLL = 0.05  # seconds between two looks into an empty queue
SAVE_EVERY = 5.0  # seconds between two writes of the report

log = logging.getLogger("tokensieve")

Sampled = list[tuple[int, str]]  # places in a request, and texts


@dataclass(frozen=True)
class _Waiting:
    """A text, and the served model's prediction for it."""

    text: str
    champion: ComparedModel
    outcome: Outcome


class Shadow:
    """A challenger that gets a share of the texts. All methods but `close` return at once.

    Attributes:
        trouble: Why there is no challenger, or why a newer one is not used. None if there is none.
    """

    def __init__(
        self,
        config: ShadowConfig,
        champion: ModelWatcher,
        idle: Callable[[], float],
        metrics: ShadowMetrics,
        threads: int = 1,
    ) -> None:
        """Prepare a comparison. `start` begins it.

        Args:
            config: The challenger, its share and the file.
            champion: The served model.
            idle: Returns the seconds since the server's last response, 0 while a request waits.
            metrics: The metrics of the comparison.
            threads: Threads per computation.

        Raises:
            InputError: If the served model has several tasks.
        """
        if SINGLE_TASK not in champion.current.model.tasks:
            tasks = ", ".join(champion.current.model.tasks)
            raise InputError(f"--shadow compares models of one task; the model has the tasks {tasks}")
        self._config, self._champion, self._idle = config, champion, idle
        self.metrics, self._threads = metrics, threads
        self._challenger: ModelWatcher | None = None
        self._load_error: str | None = None
        self._waiting: deque[_Waiting] = deque()
        self._characters, self._dropped = 0, 0
        self._lock = threading.Lock()  # of the three before
        self._tally: Tally | None = None
        self._saved_at, self._changed, self._warned = time.monotonic(), False, ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)

    def start(self, interval: float = 0.0) -> None:
        """Load the challenger in the background and follow it, as `ModelWatcher.follow` does."""
        self._interval = interval or self._config.source.interval
        self._thread.start()

    @property
    def version(self) -> str | None:
        """The version of the challenger. None while there is none."""
        return self._challenger.current.version if self._challenger else None

    @property
    def trouble(self) -> str | None:
        return self._challenger.last_error if self._challenger else self._load_error

    def sample(self, texts: Sequence[str]) -> Sampled:
        """Return the texts of a request that the challenger gets, with their places.

        None if there is no challenger, or if the challenger is the served model.
        """
        if self._challenger is None or _same(self._challenger.current, self._champion.current):
            return []
        share = self._config.share
        return [(place, text) for place, text in enumerate(texts) if random.random() < share]

    def offer(
        self, sampled: Sampled, predictions: PredictionsByTask, loaded: LoadedModel, seconds: float
    ) -> None:
        """Let the challenger predict the texts that `sample` returned.

        Args:
            sampled: Places and texts.
            predictions: Of the served model, for all texts of the request.
            loaded: The served model.
            seconds: That it took, per text.
        """
        champion = _compared(loaded)
        for place, text in sampled:
            waiting = _Waiting(text, champion, Outcome.of(predictions[SINGLE_TASK][place], seconds))
            with self._lock:
                fits = len(self._waiting) < MAX_TEXTS and self._characters + len(text) <= MAX_CHARACTERS
                if fits:
                    self._waiting.append(waiting)
                    self._characters += len(text)
                else:
                    self._dropped += 1
            if not fits:
                self.metrics.texts.labels("dropped").inc()

    def close(self, seconds: float = 5.0) -> None:
        """Stop, and write the report. Wait up to `seconds` for the text that is being computed."""
        self._stopped.set()
        if self._challenger:
            self._challenger.stop()
        self._thread.join(seconds)

    def _work(self) -> None:
        # Let the threads that answer requests go first. Linux has a priority per thread.
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        self._open()
        while not self._stopped.is_set():
            self._compare_next()
            if time.monotonic() - self._saved_at >= SAVE_EVERY:
                self._save()
        self._save()

    def _open(self) -> None:
        """Load the challenger. Try again until there is one: a registry may have none yet."""
        wait = self._interval
        while not self._stopped.is_set():
            try:
                challenger = ModelWatcher(self._config.source, self._threads, "shadow: ")
            except Exception as error:
                reason = str(error) if isinstance(error, InputError) else type(error).__name__
                if reason != self._load_error:
                    log.warning("shadow: there is no challenger yet: %s", reason)
                self._load_error = reason
            else:
                log.info(
                    "shadow: model %s gets %g of the texts", challenger.current.version, self._config.share
                )
                challenger.follow(self._interval)
                self._challenger = challenger
                return
            self._stopped.wait(wait)
            wait = min(MAX_WAIT, wait * 2)

    def _compare_next(self) -> None:
        """Wait for a text and a quiet moment, and compare the models on it.

        A function of its own, so that the thread refers to no model while it waits.
        """
        waiting = self._next()
        if waiting is None or self._challenger is None:
            return
        loaded, served = self._challenger.current, self._champion.current
        if waiting.champion != _compared(served) or _same(loaded, served):
            return  # the served model has been replaced since
        tally = self._tally_of(waiting.champion, _compared(loaded))
        try:
            outcome = _predict(loaded.model, waiting.text)
        except Exception as error:
            tally.failed += 1
            self.metrics.texts.labels("failed").inc()
            # Only the type: a message may contain the text.
            self._warn(f"model {loaded.version} fails on texts ({type(error).__name__})")
        else:
            tally.add(waiting.outcome, outcome)
            self.metrics.count(waiting.outcome, outcome)
        self._changed = True

    def _next(self) -> _Waiting | None:
        """Return the next text if the server is quiet. None if there is no text or no quiet."""
        if not self._waiting:
            self._stopped.wait(POLL)
            return None
        if self._idle() < QUIET:
            self._stopped.wait(QUIET)
            return None
        with self._lock:
            waiting = self._waiting.popleft()
            self._characters -= len(waiting.text)
        return waiting

    def _tally_of(self, champion: ComparedModel, challenger: ComparedModel) -> Tally:
        if self._tally is None or self._tally.models != (champion, challenger):
            self._save()
            earlier = ShadowReport.load(self._config.report)
            self._tally = Tally(champion, challenger, self._config.share, earlier)
        return self._tally

    def _save(self) -> None:
        """Write the report if it has changed."""
        self._saved_at = time.monotonic()
        with self._lock:
            dropped, self._dropped = (self._dropped, 0) if self._tally else (0, self._dropped)
        if self._tally is None or not (self._changed or dropped):
            return
        self._tally.dropped += dropped
        try:
            self._tally.report().save(self._config.report)
            self._changed = False
        except OSError as error:
            self._warn(f"{self._config.report} cannot be written ({error.strerror})")

    def _warn(self, reason: str) -> None:
        if reason != self._warned:
            log.warning("shadow: %s", reason)
        self._warned = reason


def _predict(model: Model, text: str) -> Outcome:
    began = time.perf_counter()
    (tokens,) = model.tokenize([text])
    by_task = model.decide(model.run([tokens.ids]), [tokens], 1)
    return Outcome.of(by_task[SINGLE_TASK][0], time.perf_counter() - began)


def _same(one: LoadedModel, other: LoadedModel) -> bool:
    return (one.version, one.identity) == (other.version, other.identity)


def _compared(loaded: LoadedModel) -> ComparedModel:
    return ComparedModel(loaded.version, loaded.identity, loaded.model.tasks[SINGLE_TASK].data_hash)
