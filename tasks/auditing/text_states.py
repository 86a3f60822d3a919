"""The states of the audited texts, and what they show: similar texts and outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.auditing.audited_texts import AuditedTexts
from tasks.mask import load_training_pair, untrained_classifier
from tasks.split import load_part
from tokensieve.audit.near_copies import Floats, Ints, Pairs
from tokensieve.audit.neighbours import SAME_MEANING, find_neighbours, unit_length
from tokensieve.data.split import SPLIT_PARTS
from tokensieve.method.probe import StateRecorder
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.loop import set_threads

MAX_STATES = 100_000  # texts whose states are computed; of more texts, a sample


@dataclass(frozen=True)
class States:
    """The pooled states of the frozen encoder for some texts.

    Attributes:
        texts: The indices of the texts, ascending, int64 [states].
        vectors: The states, of unit length, float32 [states, width].
    """

    texts: Ints
    vectors: Floats


@dataclass(frozen=True)
class Outlier:
    """The index of a text unlike all others, and its cosine to the third nearest neighbour."""

    text: int
    similarity: float


def compute_states(layout: Layout, settings: Settings, found: AuditedTexts) -> States:
    """Return the states of the texts of the split; of more than `MAX_STATES`, of a sample."""
    places = np.array(found.places, np.int64)
    used = np.flatnonzero(places >= 0)
    if len(used) > MAX_STATES:
        random = np.random.default_rng(settings.data.seed)
        used = np.sort(random.choice(used, MAX_STATES, replace=False))
    parts = np.array(found.parts)[used]
    chosen = {part: places[used[parts == part]].tolist() for part in SPLIT_PARTS if part in parts}
    # The texts of the split are in the order of its parts.
    return States(used, _pooled_states(layout, settings, chosen))


def compare_states(states: States, own: Ints, seed: int) -> tuple[Pairs, list[Outlier]]:
    """Return the pairs of different texts that mean the same, and the outliers.

    Args:
        states: The states of the texts.
        own: The index of each text among the different texts (`audit.duplicate_sets.copies_of`).
        seed: Seeds the search.
    """
    different, first = np.unique(own[states.texts], return_index=True)
    neighbours = find_neighbours(states.vectors[first], seed)
    pairs, cosines = neighbours.pairs(SAME_MEANING)
    outliers, similarities = neighbours.outliers()
    texts = states.texts[first[outliers]].tolist()
    found = [Outlier(text, round(value, 4)) for text, value in zip(texts, similarities.tolist(), strict=True)]
    return (different[pairs], cosines), found


def _pooled_states(layout: Layout, settings: Settings, chosen: Mapping[str, Sequence[int]]) -> Floats:
    """Return the states of the texts at the indices `chosen` of each part, float32 [texts, width].

    The states of the lower layers of train and validation are those that the stages mask and
    finetune read from the cache. They are put there if they are missing.
    """
    set_threads(settings.finetune.threads)
    classifier = untrained_classifier(layout, settings)
    found = []
    for part, indices in chosen.items():
        with StateRecorder(classifier, (), len(indices)) as recorder:
            if part == "test":
                recorder.run(_test_inputs(layout, settings, classifier, indices), range(len(indices)))
            else:
                recorder.run(load_training_pair(layout, settings, classifier, part)[0], indices)
        found.append(recorder.states[0].numpy())
    return unit_length(np.concatenate(found))


def _test_inputs(
    layout: Layout, settings: Settings, classifier: Classifier, indices: Sequence[int]
) -> Inputs:
    texts = load_part(layout, "test").texts
    ids = tokenize(
        load_tokenizer(layout.vocabulary / "tokenizer"),
        [texts[i] for i in indices],
        settings.base.max_length,
        settings.base.truncation,
    )
    return Inputs(ids, next(classifier.parameters()).device)
