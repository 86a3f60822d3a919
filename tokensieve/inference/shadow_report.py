"""What a server found when it compared the model it serves with a challenger.

The server writes it as a JSON file, the promotion gate reads it. It contains labels and numbers,
and no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokensieve.files import read_json_or_none, write_json

FORMAT = 1
Pair = tuple[float, float]  # of champion and challenger


@dataclass(frozen=True)
class ComparedModel:
    """A model of the comparison.

    Attributes:
        version: The number in the registry; of a folder, the first digits of its manifest's
            SHA-256.
        identity: The name of the version's model folder, which has the first digits of its run's
            id. So it differs if the registry was created again. Of a folder, it is the version.
        data_hash: The hash of the data that it was trained on.
    """

    version: str
    identity: str
    data_hash: str


@dataclass(frozen=True)
class Comparison:
    """The predictions of both models for the same texts. Confidences and times are means per text.

    Attributes:
        texts: The number of texts compared.
        agreed: Texts for which both models give the same label; of a multi-label model, the same
            labels.
        champion_confidence: Probability of the champion's most likely label.
        challenger_confidence: Probability of the challenger's most likely label.
        champion_ms: Milliseconds per text of the champion, with the time in the server's queue.
        challenger_ms: Milliseconds per text of the challenger, which computes in the background.
    """

    texts: int = 0
    agreed: int = 0
    champion_confidence: float = 0.0
    challenger_confidence: float = 0.0
    champion_ms: float = 0.0
    challenger_ms: float = 0.0

    @property
    def agreement(self) -> float | None:
        """The share of texts for which both agree. None without a text."""
        return self.agreed / self.texts if self.texts else None

    def with_text(self, agreed: bool, confidences: Pair, ms: Pair) -> Comparison:
        """Return the comparison with one more text. The pairs are of champion and challenger."""
        texts = self.texts + 1

        def mean(before: float, value: float) -> float:
            return before + (value - before) / texts

        return Comparison(
            texts,
            self.agreed + agreed,
            mean(self.champion_confidence, confidences[0]),
            mean(self.challenger_confidence, confidences[1]),
            mean(self.champion_ms, ms[0]),
            mean(self.challenger_ms, ms[1]),
        )


@dataclass(frozen=True)
class ShadowReport:
    """The comparison of a champion with a challenger on requests to a server.

    Attributes:
        share: The share of texts that the server samples.
        since: When the comparison of these two models began, in ISO 8601.
        updated: When the report was written, in ISO 8601.
        total: All texts compared.
        confident: The texts for which neither prediction is uncertain.
        champion_confident: Texts for which the champion's prediction is not uncertain.
        challenger_confident: Texts for which the challenger's prediction is not uncertain.
        dropped: Texts sampled and not compared, because the server was too busy.
        failed: Texts for which the challenger raised an error.
        labels: The texts that the champion gives this label, by label. In a multi-label model, both
            agree on a label if the challenger gives it too.
    """

    champion: ComparedModel
    challenger: ComparedModel
    share: float
    since: str
    updated: str
    total: Comparison
    confident: Comparison
    champion_confident: int
    challenger_confident: int
    dropped: int
    failed: int
    labels: Mapping[str, Comparison]

    def save(self, path: Path) -> None:
        """Write the report as JSON, atomically.

        Raises:
            OSError: If the disk does not allow it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": FORMAT} | asdict(self))

    @classmethod
    def load(cls, path: Path) -> ShadowReport | None:
        """Return the report in a file.

        None if there is no such file, or it is no report of this format.
        """
        tree = read_json_or_none(path)
        try:
            return _parse(tree) if tree.pop("format") == FORMAT else None
        except (AttributeError, KeyError, TypeError):
            return None


def _parse(tree: Any) -> ShadowReport:
    """Return the report of a JSON object.

    Raises:
        AttributeError, KeyError, TypeError: If it has other fields.
    """
    models = {name: ComparedModel(**tree[name]) for name in ("champion", "challenger")}
    comparisons = {name: Comparison(**tree[name]) for name in ("total", "confident")}
    labels = {label: Comparison(**fields) for label, fields in tree["labels"].items()}
    return ShadowReport(**(tree | models | comparisons | {"labels": labels}))
