"""No language model at all: weighted words and letter sequences, and a linear support vector machine."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from benchmarks.job import Job, Outcome


def tfidf_svm(job: Job) -> Outcome:
    """Words and pairs of words, and letter sequences of 2 to 5 within words."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    machine = LinearSVC(C=job.options["C"], random_state=job.seed)
    pipeline = make_pipeline(make_union(words, letters), machine)
    with job.clock.phase("train"):
        pipeline.fit(job.sample.train.texts, job.sample.targets(job.sample.train))

    def predict(texts):  # type: ignore[no-untyped-def]
        scores = pipeline.decision_function(list(texts))
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores

    return Outcome(predict, machine.coef_.size + machine.intercept_.size)
