"""Explain a prediction by occlusion: remove each word of a text and predict again.

The effect of a word is the decrease of the log odds of the label, in nats, when all occurrences of
the word are removed (Zeiler and Fergus 2014, arXiv 1311.2901; Li et al. 2016, arXiv 1612.08220). A
text with n words needs n + 1 predictions, which are computed together. The tokens of the word are
removed, and the other tokens stay as they are. So no text moves into the part that the model
reads, and nothing is tokenized again.

The effects describe this model and this text. They do not add up: of two words with the same
meaning, each alone may have no effect.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokensieve.errors import InputError, excerpt
from tokensieve.inference.decisions import decide, log_odds
from tokensieve.inference.load import Model
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.prediction import Candidate, predictions
from tokensieve.inference.predictor import run_batches
from tokensieve.inference.session import Floats
from tokensieve.inference.token_ids import TokenIds, replace_surrogates
from tokensieve.inference.words import Span, count_words, find_words, ngrams

MOST = 127  # removals per text: with the text itself, 128 predictions


@dataclass(frozen=True)
class Removal:
    """Words that are removed together.

    Attributes:
        text: The words as the text has them at their first occurrence.
        spans: Their occurrences in the text.
        tokens: The positions of their tokens.
    """

    text: str
    spans: tuple[Span, ...]
    tokens: frozenset[int]


@dataclass(frozen=True)
class Occlusion:
    """The tokens of a text, and what is removed from them.

    Attributes:
        tokens: The tokens that the model reads of the text.
        words: One removal per different word. If there are more than allowed, one removal per
            sequence of neighbouring words.
        phrases: One removal per phrase.
    """

    tokens: TokenIds
    words: tuple[Removal, ...]
    phrases: tuple[Removal, ...] = ()

    @property
    def ids(self) -> list[list[int]]:
        """The token ids of the text, followed by those without each of the words and phrases."""
        without = [
            [token for place, token in enumerate(self.tokens.ids) if place not in removal.tokens]
            for removal in (*self.words, *self.phrases)
        ]
        return [self.tokens.ids, *(ids or [0] for ids in without)]  # the graph needs a token


@dataclass(frozen=True)
class Effect:
    """The effect of words on a label.

    Attributes:
        text, spans: As in `Removal`.
        effect: The log odds of the label with the words, minus those without them, in nats.
            Positive if the words support the label.
        probability: The calibrated probability of the label without the words.
        labels: The labels of the text without the words, with their probabilities.
    """

    text: str
    spans: tuple[Span, ...]
    effect: float
    probability: float
    labels: tuple[Candidate, ...]


@dataclass(frozen=True)
class Explanation:
    """Why a text has a label, or not.

    Attributes:
        label: The label that is explained.
        probability: Its calibrated probability.
        labels: The labels of the text, with their probabilities.
        truncated: Whether the model reads only a part of the text.
        words: The effect of each word that the model reads, in the order of the text.
        phrases: The effect of each phrase.
    """

    label: str
    probability: float
    labels: tuple[Candidate, ...]
    truncated: bool
    words: tuple[Effect, ...]
    phrases: tuple[Effect, ...] = ()

    def ranked(self) -> list[Effect]:
        """Return the effects of words and phrases, the largest first, whatever its sign."""
        return sorted((*self.words, *self.phrases), key=lambda effect: -abs(effect.effect))


def explain(
    model: Model,
    text: str,
    label: str | None = None,
    phrases: Collection[str] | None = None,
    most: int = MOST,
) -> dict[str, Explanation]:
    """Return an explanation per task. A model of one task has the task `SINGLE_TASK`.

    Args:
        model: A loaded model.
        text: The text to explain.
        label: The label to explain, for the tasks that have it. None for the most likely label.
        phrases: Constructs. Those of several words that the text contains are removed as a whole,
            too. None: those of the model.
        most: The most removals.

    Raises:
        InputError: If no task has the label.
    """
    occlusion = occlude(model, text, phrases, most)
    return effects(model, occlusion, run_batches(model.run, occlusion.ids, model.classes), label)


def occlude(model: Model, text: str, phrases: Collection[str] | None = None, most: int = MOST) -> Occlusion:
    """Return what is removed from a text: its words, and those of `phrases` that it contains.

    The arguments are those of `explain`.
    """
    text = model.text_rule.cleaned(replace_surrogates(text))
    tokens, spans = model.tokenize_with_spans(text)
    read = text[: max((end for _, end in spans), default=0)]
    places = _TokenPlaces(spans, len(read))
    words = [word for word in find_words(read, spans) if places.of(word)]
    removals = _merged(text, [(text[slice(*word)].casefold(), word) for word in words], places)
    if len(removals) > most:
        size = -(-len(words) // most)
        groups = [words[start : start + size] for start in range(0, len(words), size)]
        removals = [_removal(text, [(group[0][0], group[-1][1])], places) for group in groups]
    known = {removal.tokens for removal in removals}
    wanted = frozenset(model.phrases if phrases is None else phrases)
    found = _merged(text, _find_phrases(read, wanted, places), places)
    joined = [phrase for phrase in found if phrase.tokens not in known]
    return Occlusion(tokens, tuple(removals), tuple(joined[: most - len(removals)]))


def effects(
    model: Model, occlusion: Occlusion, logits: Floats, label: str | None = None
) -> dict[str, Explanation]:
    """Return an explanation per task from the logits, [texts, classes], of `occlusion.ids`.

    Raises:
        InputError: If no task has the label.
    """
    by_task = model.by_task(logits)
    found = {
        task: _explanation(manifest, occlusion, by_task[task], label)
        for task, manifest in model.tasks.items()
        if label is None or label in manifest.labels
    }
    if not found:
        known = ", ".join(name for manifest in model.tasks.values() for name in manifest.labels[:10])
        raise InputError(f"the model has no label {excerpt(label)}; its labels: {excerpt(known)}")
    return found


def _explanation(manifest: Manifest, occlusion: Occlusion, logits: Floats, label: str | None) -> Explanation:
    decided = decide(logits, manifest.rule)
    column = int(decided.probabilities[0].argmax()) if label is None else manifest.labels.index(label)
    odds = log_odds(logits, column, manifest.rule)
    unused = [False] * len(logits)  # whether texts are truncated or blank: only the labels are used
    given = predictions(logits, manifest, unused, unused, 1)
    found = tuple(
        Effect(
            removal.text,
            removal.spans,
            float(odds[0] - odds[row]),
            float(decided.probabilities[row, column]),
            given[row].labels,
        )
        for row, removal in enumerate((*occlusion.words, *occlusion.phrases), start=1)
    )
    return Explanation(
        manifest.labels[column],
        float(decided.probabilities[0, column]),
        given[0].labels,
        occlusion.tokens.truncated,
        found[: len(occlusion.words)],
        found[len(occlusion.words) :],
    )


class _TokenPlaces:
    """The positions of the tokens of each character."""

    def __init__(self, spans: Sequence[Span], length: int) -> None:
        self._first: npt.NDArray[np.int64] = np.full(length, len(spans), dtype=np.int64)
        self._last: npt.NDArray[np.int64] = np.full(length, -1, dtype=np.int64)
        for place, (start, end) in enumerate(spans):
            np.minimum(self._first[start:end], place, out=self._first[start:end])
            np.maximum(self._last[start:end], place, out=self._last[start:end])

    def of(self, span: Span) -> range:
        """Return the positions of the tokens that have a character of the span."""
        start, end = span
        return range(int(self._first[start:end].min()), int(self._last[start:end].max()) + 1)


def _removal(text: str, spans: Sequence[Span], places: _TokenPlaces) -> Removal:
    tokens = frozenset(place for span in spans for place in places.of(span))
    return Removal(text[slice(*spans[0])], tuple(spans), tokens)


def _merged(text: str, named: Sequence[tuple[str, Span]], places: _TokenPlaces) -> list[Removal]:
    """Return one removal per name, of all spans with this name."""
    occurrences: dict[str, list[Span]] = {}
    for name, span in named:
        occurrences.setdefault(name, []).append(span)
    return [_removal(text, found, places) for found in occurrences.values()]


def _find_phrases(text: str, phrases: frozenset[str], places: _TokenPlaces) -> list[tuple[str, Span]]:
    """Return the occurrences of phrases, each with the phrase.

    Punctuation between their words is ignored.
    """
    longest = max(map(count_words, phrases), default=0)
    return [
        (name, (start, end))
        for name, start, end in ngrams(text, longest)
        if name in phrases and count_words(name) > 1 and places.of((start, end))
    ]
