"""The frozen encoder with a linear head.

The features are computed once, and the logistic regression is solved until it converges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold

from benchmarks.methods.linear import decisions, fitted, machines, weights
from benchmarks.training.method_api import Job, Outcome
from benchmarks.training.scores import figures
from tokensieve.model.batches import Inputs, batches_by_length, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_base_tokenizer

Floats = NDArray[np.float32]
ITERATIONS = 2000


def frozen(job: Job) -> Outcome:
    """Fit the head with the best penalty.

    It is the best one on the validation texts, or in a cross-validation if there are none.
    """
    classifier = job.classifier()
    train, validation = job.sample.train, job.sample.validation
    with job.clock.phase("cache"):
        features = _features(job, classifier, train.texts)
        held_out = _features(job, classifier, validation.texts) if validation else None
    targets = job.sample.targets(train).numpy()
    with job.clock.phase("train"):
        if validation and held_out is not None:
            held_out_targets = job.sample.targets(validation).numpy()
            heads = {c: _head(features, targets, c) for c in job.options["penalties"]}
            tried = {c: _score(head, held_out, held_out_targets) for c, head in heads.items()}
            chosen = _best(tried)
            head = heads[chosen]
        else:
            tried = _cross_validated(features, targets, job)
            chosen = _best(tried)
            head = _head(features, targets, chosen)
    notes = {"C": chosen, "tried": {f"{c:g}": round(score, 4) for c, score in tried.items()}}
    steps = max(int(max(machine.n_iter_)) for machine in machines(head))
    return Outcome(
        lambda texts: decisions(head, _features(job, classifier, texts)), weights(head), [], steps, notes
    )


@torch.inference_mode()
def _features(job: Job, classifier: Classifier, texts: Sequence[str]) -> Floats:
    """Return pooled states of unit length, float32 [texts, width]."""
    base = job.settings.base
    tokenizer = load_base_tokenizer(job.folder, base.prompt)
    inputs = Inputs(tokenize(tokenizer, texts, base.max_length), job.device)
    features = torch.empty(len(inputs), classifier.encoder.config.hidden_size)
    for indices in batches_by_length(inputs.lengths, inputs.tokens_per_batch):
        features[indices] = inputs.batch(indices).features(classifier).float().cpu()
    return torch.nn.functional.normalize(features).numpy()


def _head(features: Floats, targets: NDArray[Any], c: float) -> Any:
    return fitted(LogisticRegression(C=c, max_iter=ITERATIONS), features, targets)


def _score(head: Any, features: Floats, targets: NDArray[Any]) -> float:
    return figures(decisions(head, features), targets)["score"]


def _cross_validated(features: Floats, targets: NDArray[Any], job: Job) -> dict[float, float]:
    """Return the mean score by penalty.

    If a class has a single text, there are no folds, and only the middle penalty is returned.
    """
    penalties = job.options["penalties"]
    multilabel = targets.ndim == 2
    folds = min(job.options["folds"], *([len(targets)] if multilabel else Counter(targets.tolist()).values()))
    if folds < 2:
        return {penalties[len(penalties) // 2]: 0.0}
    splitter = (KFold if multilabel else StratifiedKFold)(folds, shuffle=True, random_state=job.seed)
    parts = list(splitter.split(features, targets))

    def mean(c: float) -> float:
        return float(
            np.mean([_score(_head(features[a], targets[a], c), features[b], targets[b]) for a, b in parts])
        )

    return {c: mean(c) for c in penalties}


def _best(tried: dict[float, float]) -> float:
    """Return the strongest penalty (the smallest C) with the highest score."""
    return min(tried, key=lambda c: (-tried[c], c))
