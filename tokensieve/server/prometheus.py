"""What the service counts, for Prometheus. No text is among it, and of the labels only those that the model knows.

The label `task` is empty, which Prometheus takes for absent, unless several tasks share the model.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

from tokensieve.inference.load import Answers
from tokensieve.inference.predictor import LabelSet

__all__ = ["CONTENT_TYPE", "Metrics"]

SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64)
TENTHS = tuple(i / 10 for i in range(1, 11))


class Metrics:
    """One set of meters a service."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.seconds = Histogram(
            "tokensieve_request_seconds",
            "From a request's first byte to its answer",
            buckets=SECONDS,
            registry=registry,
        )
        self.requests = Counter(
            "tokensieve_requests", "Requests for predictions, by status", ["status"], registry=registry
        )
        self.batches = Histogram(
            "tokensieve_batch_texts", "Texts that were computed together", buckets=TEXTS, registry=registry
        )
        self.queue = Gauge("tokensieve_queue_texts", "Texts that wait", registry=registry)
        self.confidence = Histogram(
            "tokensieve_confidence",
            "Probability of the likeliest label",
            ["task"],
            buckets=TENTHS,
            registry=registry,
        )
        self.labels = Counter("tokensieve_labels", "Answers, by label", ["task", "label"], registry=registry)
        self.uncertain = Counter(
            "tokensieve_uncertain", "Answers that were uncertain", ["task"], registry=registry
        )
        self.truncated = Counter(
            "tokensieve_truncated", "Texts that had more tokens than the model reads", registry=registry
        )
        self.swaps = Gauge(
            "tokensieve_swaps", "Newer models taken, and refused", ["outcome"], registry=registry
        )
        self.checked = Gauge(
            "tokensieve_checked_timestamp_seconds",
            "When the source last said which version to serve; 0: never",
            registry=registry,
        )
        self.trouble = Gauge(
            "tokensieve_trouble", "1 while the newest model is not known or not taken", registry=registry
        )
        self.held = Gauge(
            "tokensieve_held_bytes",
            "Bytes of the bodies of requests that are not answered",
            registry=registry,
        )
        self.model = Gauge(
            "tokensieve_model",
            "1 for the model that answers",
            ["task", "version", "data_hash"],
            registry=registry,
        )

    def answered(self, answers: Answers) -> None:
        """Count what was answered."""
        for task, found in answers.items():
            confidence, uncertain = self.confidence.labels(task), self.uncertain.labels(task)
            for answer in found:
                confidence.observe(answer.top[0][1])
                for label in (
                    [label for label, _ in answer.labels] if isinstance(answer, LabelSet) else [answer.label]
                ):
                    self.labels.labels(task, label).inc()
                uncertain.inc(answer.uncertain)
        self.truncated.inc(sum(answer.truncated for answer in next(iter(answers.values()))))

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        return generate_latest(self.registry)
