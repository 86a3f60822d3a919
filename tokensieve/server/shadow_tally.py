"""Count how two models predict the same texts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tokensieve.inference.prediction import Prediction
from tokensieve.inference.shadow_report import ComparedModel, Comparison, ShadowReport


@dataclass(frozen=True)
class Outcome:
    """What a model predicted for one text.

    Attributes:
        labels: The labels given.
        confidence: Probability of the most likely label.
        uncertain: As in `Prediction`.
        ms: Milliseconds that it took.
    """

    labels: frozenset[str]
    confidence: float
    uncertain: bool
    ms: float

    @classmethod
    def of(cls, prediction: Prediction, seconds: float) -> Outcome:
        """Return the outcome of a prediction that took `seconds`."""
        labels = frozenset(label for label, _ in prediction.labels)
        return cls(labels, prediction.top[0][1], prediction.uncertain, seconds * 1e3)


class Tally:
    """The counts of one comparison of a champion with a challenger.

    Attributes:
        dropped: Texts that were sampled and not compared.
        failed: Texts for which the challenger raised an error.
    """

    def __init__(
        self,
        champion: ComparedModel,
        challenger: ComparedModel,
        share: float,
        earlier: ShadowReport | None = None,
    ) -> None:
        """Begin a comparison, or continue that of the report `earlier`, if of the same models."""
        self.models, self._share = (champion, challenger), share
        if earlier is None or (earlier.champion, earlier.challenger) != self.models:
            earlier = ShadowReport(
                champion, challenger, share, _now(), _now(), Comparison(), Comparison(), 0, 0, 0, 0, {}
            )
        self._since = earlier.since
        self._total, self._both_confident = earlier.total, earlier.confident
        self._champion_confident = earlier.champion_confident
        self._challenger_confident = earlier.challenger_confident
        self._labels = dict(earlier.labels)
        self.dropped, self.failed = earlier.dropped, earlier.failed

    def add(self, champion: Outcome, challenger: Outcome) -> None:
        """Count one text."""
        agreed = champion.labels == challenger.labels
        confidences = champion.confidence, challenger.confidence
        ms = champion.ms, challenger.ms
        self._total = self._total.with_text(agreed, confidences, ms)
        self._champion_confident += not champion.uncertain
        self._challenger_confident += not challenger.uncertain
        if not (champion.uncertain or challenger.uncertain):
            self._both_confident = self._both_confident.with_text(agreed, confidences, ms)
        for label in champion.labels:
            counted = self._labels.get(label, Comparison())
            self._labels[label] = counted.with_text(label in challenger.labels, confidences, ms)

    def report(self) -> ShadowReport:
        """Return the counts so far."""
        return ShadowReport(
            *self.models,
            self._share,
            self._since,
            _now(),
            self._total,
            self._both_confident,
            self._champion_confident,
            self._challenger_confident,
            self.dropped,
            self.failed,
            dict(sorted(self._labels.items())),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
