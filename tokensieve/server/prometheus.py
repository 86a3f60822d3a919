"""Metrics for Prometheus. They contain no text, and no labels other than those of the model.

The label `task` is empty unless several tasks share the model. Prometheus treats an empty label as
absent.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

from tokensieve.inference.load import PredictionsByTask

if TYPE_CHECKING:
    from tokensieve.server.model_watcher import ModelWatcher
    from tokensieve.server.shadow import Shadow
    from tokensieve.server.shadow_tally import Outcome

__all__ = ["CONTENT_TYPE", "Metrics", "ShadowMetrics"]

SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64)
TENTHS = tuple(i / 10 for i in range(1, 11))


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.seconds = histogram(
            "tokensieve_request_seconds",
            "Seconds from the first byte of a request to its response",
            buckets=SECONDS,
        )
        self.requests = counter("tokensieve_requests", "Requests for predictions, by status", ["status"])
        self.batches = histogram("tokensieve_batch_texts", "Texts computed together", buckets=TEXTS)
        self.queue = gauge("tokensieve_queue_texts", "Texts waiting in the queue")
        self.confidence = histogram(
            "tokensieve_confidence", "Probability of the most likely label", ["task"], buckets=TENTHS
        )
        self.labels = counter("tokensieve_labels", "Predictions, by label", ["task", "label"])
        self.uncertain = counter("tokensieve_uncertain", "Predictions marked uncertain", ["task"])
        self.truncated = counter("tokensieve_truncated", "Texts longer than the model reads")
        self.reloads = gauge(
            "tokensieve_swaps", "Newer models loaded (taken) or failed (refused)", ["outcome"]
        )
        self.checked = gauge(
            "tokensieve_checked_timestamp_seconds",
            "Time of the last successful check for a newer model; 0: never",
        )
        self.failed = gauge("tokensieve_trouble", "1 while the newest model is unknown or failed to load")
        self.held = gauge("tokensieve_held_bytes", "Bytes of the bodies of unanswered requests")
        self.model = gauge(
            "tokensieve_model", "1 for the model that is served", ["task", "version", "data_hash"]
        )

    def count_predictions(self, by_task: PredictionsByTask) -> None:
        """Count labels, confidence and uncertainty of the predictions of one request."""
        for task, predictions in by_task.items():
            confidence, uncertain = self.confidence.labels(task), self.uncertain.labels(task)
            for prediction in predictions:
                confidence.observe(prediction.top[0][1])
                for label, _ in prediction.labels:
                    self.labels.labels(task, label).inc()
                uncertain.inc(prediction.uncertain)
        # All tasks read the same tokens, so any of them can be counted.
        self.truncated.inc(sum(prediction.truncated for prediction in next(iter(by_task.values()))))

    def read_state(self, watcher: ModelWatcher, waiting: int, held_bytes: int) -> None:
        """Update the gauges of the model, its reloads, the queue and the memory of requests."""
        current = watcher.current
        self.queue.set(waiting)
        self.held.set(held_bytes)
        self.model.clear()
        for task, manifest in current.model.tasks.items():
            self.model.labels(task, current.version, manifest.data_hash).set(1)
        for outcome, count in watcher.reloads.items():
            self.reloads.labels(outcome).set(count)
        self.checked.set(watcher.last_checked or 0)
        self.failed.set(watcher.last_error is not None)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


class ShadowMetrics:
    """The metrics of the comparison with a challenger. A server without one does not have them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        summary = partial(Summary, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.texts = counter(
            "tokensieve_shadow_texts",
            "Texts for the challenger, by outcome: agreed, differed, failed or dropped",
            ["outcome"],
        )
        self.labels = counter(
            "tokensieve_shadow_labels",
            "Texts compared, by label of the served model; agreed: the challenger gave it too",
            ["label", "outcome"],
        )
        self.confidence = summary(
            "tokensieve_shadow_confidence",
            "Probability of the most likely label of each model, by label of the served model",
            ["model", "label"],
        )
        self.seconds = summary(
            "tokensieve_shadow_seconds",
            "Seconds per text of each model, by label of the served model",
            ["model", "label"],
        )
        self.model = gauge("tokensieve_shadow_model", "1 for the challenger that is compared", ["version"])
        self.failed = gauge(
            "tokensieve_shadow_trouble", "1 while the newest challenger is unknown or failed to load"
        )

    def count(self, champion: Outcome, challenger: Outcome) -> None:
        """Count one text that both models have predicted."""
        outcome = {True: "agreed", False: "differed"}
        self.texts.labels(outcome[champion.labels == challenger.labels]).inc()
        for label in champion.labels:
            self.labels.labels(label, outcome[label in challenger.labels]).inc()
            for model, found in (("champion", champion), ("challenger", challenger)):
                self.confidence.labels(model, label).observe(found.confidence)
                self.seconds.labels(model, label).observe(found.ms / 1e3)

    def read_state(self, shadow: Shadow) -> None:
        """Update the gauges of the challenger."""
        self.model.clear()
        if shadow.version:
            self.model.labels(shadow.version).set(1)
        self.failed.set(shadow.trouble is not None)
