"""TF-IDF of words and letter sequences, with a linear support vector machine. No language model."""

from __future__ import annotations

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_union
from sklearn.svm import LinearSVC

from benchmarks.methods.linear import decisions, fitted, weights
from benchmarks.training.method_api import Job, Outcome


def tfidf_svm(job: Job) -> Outcome:
    """Train on words, pairs of words, and sequences of 2 to 5 letters within words."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    features = make_union(words, letters)
    with job.clock.phase("train"):
        targets = job.sample.targets(job.sample.train).numpy()
        machine = fitted(
            LinearSVC(C=job.options["C"], random_state=job.seed),
            features.fit_transform(job.sample.train.texts),
            targets,
        )
    return Outcome(lambda texts: decisions(machine, features.transform(list(texts))), weights(machine))
