"""The verdict on a model: what it is good for, whether to promote it, and what would help most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from tokensieve.errors import excerpt
from tokensieve.evaluation import intervals
from tokensieve.evaluation.baselines import Baseline, Baselines
from tokensieve.evaluation.metrics import Bools, Ints, Targets
from tokensieve.evaluation.shortcuts import Shortcut
from tokensieve.evaluation.verdict_sentence import in_one_sentence
from tokensieve.evaluation.weak_class import WeakClass
from tokensieve.truncation import HEAD

LEVEL = 0.05  # highest p-value of a difference that is not due to chance
# A model answers by itself if it is confident on this share of the texts, and right on this share
# of them.
MIN_COVERAGE, MIN_ACCEPTED = 0.5, 0.9
MIN_ACCURACY = 0.6  # of a model that suggests answers; for multi-label data, its micro F1
WEAK = 0.1  # a class is weak if its recall is below the accuracy by more than this
MIN_CUT = 0.05  # share of truncated test texts from which the verdict names them
MIN_PAIR = 3  # confused texts from which the verdict names a pair of classes
WIDE = 0.1  # width of the interval of the accuracy from which more test texts would help
NAMED = 3  # classes that a remedy names
WEAKEST = 5  # classes in the list of the weakest ones


class Grade(StrEnum):
    """What a model is good for."""

    ALONE = "answers by itself"
    ASSISTS = "suggests answers"
    UNREADY = "not ready"
    LOSES = "worse than TF-IDF"
    EVEN = "not better than TF-IDF"


@dataclass(frozen=True)
class Verdict:
    """What is said about a model.

    Attributes:
        grade: What it is good for.
        promote: Whether to promote it, as far as the test texts show. The gate compares it with the
            champion.
        sentence: All of it in one sentence.
        good_for: What it is good for, with the figures.
        advice: Whether to promote it, and why not.
        remedies: What would help, the most effective first.
        weakest: The classes that are surely the weakest first, up to `WEAKEST`.
        tested_on_one: Number of classes with one test text.
    """

    grade: Grade
    promote: bool
    sentence: str
    good_for: str
    advice: str
    remedies: tuple[str, ...]
    weakest: tuple[WeakClass, ...]
    tested_on_one: int


@dataclass(frozen=True)
class ModelOnTest:
    """What is known about the predictions on the test texts.

    Attributes:
        figures: The evaluation report.
        baselines: The baselines on the same texts.
        labels: The names of the classes.
        train_counts: Number of training texts of each class.
        targets: Of the test texts, in the form of `metrics`.
        predicted: The predictions, in the form of `targets`.
        cut: Which test texts are truncated, bool [texts].
        max_length: Tokens that are read of a text.
        shortcuts: Phrases that the model takes for a class.
        truncation: The part that is read of a longer text (`truncation.py`).
    """

    figures: Mapping[str, Any]
    baselines: Baselines
    labels: Sequence[str]
    train_counts: Sequence[int]
    targets: Targets
    predicted: Targets
    cut: Bools
    max_length: int
    shortcuts: Sequence[Shortcut] = ()
    truncation: str = HEAD

    @property
    def correct(self) -> Bools:
        """Which test texts have exactly their label or labels, bool [texts]."""
        return np.asarray((self.targets == self.predicted).reshape(len(self.targets), -1).all(1))


def judge(result: ModelOnTest) -> Verdict:
    """Return the verdict on a model from its test texts."""
    tfidf, accuracy = result.baselines.tfidf, float(result.correct.mean())
    grade = _grade(result, accuracy)
    good_for = _good_for(grade, result.figures, accuracy, tfidf)
    promote, advice = _advice(grade, accuracy, result.baselines)
    remedies = tuple(_remedies(result, accuracy))
    counts = _tested(result)
    return Verdict(
        grade=grade,
        promote=promote,
        sentence=in_one_sentence(good_for, advice, remedies),
        good_for=good_for,
        advice=advice,
        remedies=remedies,
        weakest=tuple(_weakest(counts)[:WEAKEST]),
        tested_on_one=sum(found.texts == 1 for found in counts),
    )


def _grade(result: ModelOnTest, accuracy: float) -> Grade:
    tfidf, figures = result.baselines.tfidf, result.figures
    if tfidf and tfidf.only_baseline > tfidf.only_model:
        return Grade.LOSES if tfidf.model_is_worse <= LEVEL else Grade.EVEN
    if result.baselines.majority.model_is_better > LEVEL:
        return Grade.UNREADY
    if figures["coverage"] >= MIN_COVERAGE and (figures["accepted_accuracy"] or 0) >= MIN_ACCEPTED:
        return Grade.ALONE
    return Grade.ASSISTS if figures.get("test_micro_f1", accuracy) >= MIN_ACCURACY else Grade.UNREADY


def _good_for(grade: Grade, figures: Mapping[str, Any], accuracy: float, tfidf: Baseline | None) -> str:
    low, high = _interval(figures)
    right = f"{accuracy:.0%} of the test texts right, {low:.0%} to {high:.0%} with 95% confidence"
    if grade in (Grade.LOSES, Grade.EVEN) and tfidf:
        better = "is better" if grade is Grade.LOSES else "is as good, as far as the test texts show"
        return (
            f"a linear SVM on TF-IDF, which trains in a second, {better} "
            f"({tfidf.accuracy:.1%} of the test texts right, this model {accuracy:.1%})"
        )
    if grade is Grade.ALONE:
        return (
            f"good enough to answer by itself when it is confident ({figures['coverage']:.0%} of the test "
            f"texts, {figures['accepted_accuracy']:.0%} of them right), with a person for the other texts"
        )
    if grade is Grade.ASSISTS:
        return f"good enough to suggest an answer that a person confirms ({right})"
    return f"not good enough for use ({right})"


def _interval(figures: Mapping[str, Any]) -> tuple[float, float]:
    """Return the 95% interval of the accuracy, for multi-label data of the exact match."""
    low, high = figures.get("test_accuracy_interval") or figures["test_exact_match_interval"]
    return low, high


def _advice(grade: Grade, accuracy: float, baselines: Baselines) -> tuple[bool, str]:
    """Return whether to promote the model, and the advice in words."""
    tfidf, majority = baselines.tfidf, baselines.majority
    if grade is Grade.LOSES:
        return False, "do not promote it"
    if grade is Grade.EVEN:
        return False, "test it on more texts before you promote it"
    if grade is Grade.UNREADY:
        no_better = f", the most frequent class alone gives {majority.accuracy:.0%}"
        return False, f"do not promote it{no_better if majority.model_is_better > LEVEL else ' yet'}"
    if tfidf is None:
        return True, "promote it"
    svm, model = f"{tfidf.accuracy:.1%}", f"{accuracy:.1%}"
    if svm == model:
        return True, f"promote it (as good as a linear SVM on TF-IDF: both get {model} right)"
    right = f"a linear SVM on TF-IDF gets {svm} right, this model {model}"
    return True, f"promote it ({right}{'' if tfidf.model_is_better <= LEVEL else ', maybe by chance'})"


def _remedies(result: ModelOnTest, accuracy: float) -> list[str]:
    """Return what would help. The remedy that concerns the most wrong test texts is first.

    Only texts without a shortcut help more: no wrong test text shows it.
    """
    wrong = int((~result.correct).sum())
    found = [*_longer_texts(result, wrong), *_more_texts(result, accuracy)]
    if result.targets.ndim == 1:
        found += _clearer_labels(result)
    remedies = [text for _, text in sorted(found, key=lambda remedy: -remedy[0])]
    remedies = [*map(str, result.shortcuts), *remedies]
    if wrong and not remedies:
        remedies.append(f"more training texts like the {_wrong_ones(wrong)}")
    name = (
        "test_accuracy_interval"
        if "test_accuracy_interval" in result.figures
        else "test_exact_match_interval"
    )
    low, high = result.figures[name]
    if high - low > WIDE:
        remedies.append(
            f"more test texts: with {len(result.targets):,}, the accuracy is between {low:.0%} and {high:.0%}"
        )
    return remedies


def _wrong_ones(count: int) -> str:
    return "wrong one" if count == 1 else f"{count:,} wrong ones"


def _longer_texts(result: ModelOnTest, wrong: int) -> Iterator[tuple[int, str]]:
    cut, correct = result.cut, result.correct
    if not wrong or cut.mean() < MIN_CUT:
        return
    missed = int((cut & ~correct).sum())
    if cut.all() or missed / cut.sum() > (wrong - missed) / (~cut).sum():
        both_ends = ", or base.truncation=head_tail" if result.truncation == HEAD else ""
        yield (
            missed,
            f"longer inputs (base.max_length{both_ends}): "
            f"{cut.mean():.0%} of the test texts are cut at {result.max_length} tokens, "
            f"{f'{missed:,} of ' if wrong > 1 else ''}the {_wrong_ones(wrong)} among them",
        )


def _more_texts(result: ModelOnTest, accuracy: float) -> Iterator[tuple[int, str]]:
    """Yield the weak classes that have few training texts."""
    usual = median(result.train_counts)
    weak = [
        found
        for found in _weakest(_tested(result))
        if found.correct / found.texts < accuracy - WEAK and found.train_texts <= usual
    ]
    if weak:
        weak.sort(key=lambda found: found.correct - found.texts)
        others = len(weak) - NAMED
        more = f" and {others} other class{'' if others == 1 else 'es'}" if others > 0 else ""
        names = ", ".join(map(str, weak[:NAMED]))
        yield sum(found.texts - found.correct for found in weak), f"more texts for {names}{more}"


def _clearer_labels(result: ModelOnTest) -> Iterator[tuple[int, str]]:
    """Yield the pair of classes that are confused most, in both directions.

    Confusion in one direction only is not a matter of the labels.
    """
    counts: Ints = confusion_matrix(result.targets, result.predicted, labels=range(len(result.labels)))
    both = np.triu(np.where(np.minimum(counts, counts.T) > 0, counts + counts.T, 0), 1)
    first, second = divmod(int(both.argmax()), len(result.labels))
    if (confused := int(both[first, second])) >= MIN_PAIR:
        names = " and ".join(excerpt(result.labels[i], 40) for i in (first, second))
        yield confused, f"clearer labels for {names}: {confused} texts of one were taken for the other"


def _tested(result: ModelOnTest) -> list[WeakClass]:
    """Return the counts of each class that has test texts."""
    rows = result.figures["per_class"]
    return [
        WeakClass(label, round(rows[label]["recall"] * rows[label]["support"]), rows[label]["support"], count)
        for label, count in zip(result.labels, result.train_counts, strict=True)
        if rows[label]["support"]
    ]


def _weakest(counts: Sequence[WeakClass]) -> list[WeakClass]:
    """Return the classes with errors, those first that are surely weak: by the upper bound."""
    wrong = [found for found in counts if found.correct < found.texts]
    return sorted(wrong, key=lambda found: (intervals.interval(found.correct, found.texts)[1], found.label))
