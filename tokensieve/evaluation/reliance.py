"""Measure which words a model relies on for a label, next to what the training data say.

A word with a large effect that has nothing to do with the meaning of the label is a shortcut.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokensieve.errors import InputError, excerpt
from tokensieve.inference.explain import explain
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.words import construct_name, count_words

MOST_TEXTS = 200  # texts per label: with MiniLM and 15 words per text, about 10 s


@dataclass(frozen=True)
class Reliance:
    """What a word or phrase does to the label.

    Attributes:
        text: The word or phrase in lower case.
        mean_effect: Its mean effect over all texts of the label, in nats. The effect is 0 in the
            texts without it.
        effect: Its mean effect over the texts with it, in nats (`explain.Effect`).
        texts: The number of texts with it.
        information: Its mutual information with the labels in the training data, in nats; None if
            it is not among the constructs.
        indicates: The label that it indicates most in the training data; empty if none.
    """

    text: str
    mean_effect: float
    effect: float
    texts: int
    information: float | None
    indicates: str


def measure_reliance(
    model: Predictor, texts: Sequence[str], label: str, constructs: Sequence[Mapping[str, Any]]
) -> list[Reliance]:
    """Return the words and phrases by their mean effect on `label`, the largest first.

    Args:
        model: The model.
        texts: Texts to which the model gives the label.
        label: The label.
        constructs: The fields of `method.constructs.Construct`. Those of several words are removed
            as phrases.

    Raises:
        InputError: If there are no texts, or the model does not know the label.
    """
    if not texts:
        raise InputError(
            f"the model gives the label {excerpt(label)} to no held-out text; explain a text of your own: "
            'tokensieve explain "TEXT"'
        )
    known = {construct["text"]: construct for construct in constructs}
    phrases = [text for text in known if count_words(text) > 1]
    effects: dict[str, list[float]] = defaultdict(list)
    for text in texts:
        found = explain(model, text, label, phrases)[SINGLE_TASK]
        for effect in (*found.words, *found.phrases):
            effects[construct_name(effect.text)].append(effect.effect)
    relied = [
        Reliance(
            text,
            sum(values) / len(texts),
            sum(values) / len(values),
            len(values),
            known.get(text, {}).get("information"),
            known.get(text, {}).get("label", ""),
        )
        for text, values in effects.items()
    ]
    return sorted(relied, key=lambda found: (-found.mean_effect, found.text))


def texts_given(model: Predictor, texts: Sequence[str], label: str) -> list[str]:
    """Return the first `MOST_TEXTS` texts to which the model gives the label."""
    predictions = model.predict(texts, 1)
    given = [
        text
        for text, found in zip(texts, predictions, strict=True)
        if label in (name for name, _ in found.labels)
    ]
    return given[:MOST_TEXTS]
