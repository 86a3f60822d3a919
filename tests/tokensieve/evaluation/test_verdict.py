from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tokensieve.evaluation import metrics
from tokensieve.evaluation.baselines import Baseline, Baselines
from tokensieve.evaluation.intervals import interval, mcnemar_p_value
from tokensieve.evaluation.metrics import Ints
from tokensieve.evaluation.shortcuts import SharedPhrase, Shortcut
from tokensieve.evaluation.verdict import Grade, ModelOnTest, Verdict, judge
from tokensieve.truncation import HEAD, HEAD_TAIL

LABELS = ["bill", "card", "rate"]


def baseline(accuracy: float, only_model: int, only_baseline: int) -> Baseline:
    worse, better = mcnemar_p_value(only_baseline, only_model), mcnemar_p_value(only_model, only_baseline)
    return Baseline(
        accuracy, (accuracy - 0.1, accuracy + 0.1), accuracy, only_model, only_baseline, worse, better, 90
    )


WEAK_BASELINES = Baselines(baseline(0.33, 60, 1), baseline(0.6, 40, 5))


def verdict(
    targets: Ints,
    predicted: Ints,
    baselines: Baselines = WEAK_BASELINES,
    counts: tuple[int, ...] = (30, 30, 30),
    cut: Ints | None = None,
    truncation: str = HEAD,
    **figures: Any,
) -> Verdict:
    correct = targets == predicted
    own = {
        "test_accuracy_interval": interval(int(correct.sum()), len(correct)),
        "coverage": 0.9,
        "accepted_accuracy": 0.95,
        "per_class": metrics.class_report(targets, predicted, LABELS),
    }
    none = np.zeros(len(targets), dtype=bool)
    given = none if cut is None else cut.astype(bool)
    result = ModelOnTest(own | figures, baselines, LABELS, counts, targets, predicted, given, 128)
    return judge(replace(result, truncation=truncation))


def texts(*wrong: tuple[int, int, int], each: int = 40) -> tuple[Ints, Ints]:
    """Return targets and predictions of `each` texts per class.

    Each of `wrong` is (true class, predicted class, number of texts).
    """
    targets = np.repeat(np.arange(3), each)
    predicted = targets.copy()
    for true, other, count in wrong:
        places = np.flatnonzero((targets == true) & (predicted == true))[:count]
        predicted[places] = other
    return targets, predicted


def test_a_good_model_is_to_be_promoted() -> None:
    found = verdict(*texts((0, 1, 2)))
    assert (found.grade, found.promote, found.remedies) == (
        Grade.ALONE,
        True,
        ("more training texts like the 2 wrong ones",),
    )
    assert found.sentence == (
        "good enough to answer by itself when it is confident (90% of the test texts, 95% of them "
        "right), with a person for the other texts: promote it (a linear SVM on TF-IDF gets 60.0% "
        "right, this model 98.3%); "
        "what would help most: more training texts like the 2 wrong ones."
    )


def test_one_wrong_text_is_named_in_the_singular() -> None:
    assert verdict(*texts((0, 1, 1))).remedies == ("more training texts like the wrong one",)
    cut = np.repeat([1, 0], [10, 110])
    assert verdict(*texts((0, 1, 1)), cut=cut).remedies[0].endswith("at 128 tokens, the wrong one among them")


def test_a_tf_idf_svm_with_as_many_right_texts_is_as_good() -> None:
    even = Baselines(baseline(0.33, 60, 1), baseline(118 / 120, 2, 2))
    found = verdict(*texts((0, 1, 2)), baselines=even)
    assert found.advice == "promote it (as good as a linear SVM on TF-IDF: both get 98.3% right)"
    close = Baselines(baseline(0.33, 60, 1), baseline(117 / 120, 2, 1))
    assert verdict(*texts((0, 1, 2)), baselines=close).advice == (
        "promote it (a linear SVM on TF-IDF gets 97.5% right, this model 98.3%, maybe by chance)"
    )


def test_a_model_that_loses_to_tf_idf_is_told_so_first() -> None:
    found = verdict(
        *texts((0, 1, 30), (1, 2, 30)), baselines=Baselines(baseline(0.3, 40, 10), baseline(0.91, 5, 40))
    )
    assert (found.grade, found.promote) == (Grade.LOSES, False)
    assert found.sentence.startswith(
        "a linear SVM on TF-IDF, which trains in a second, is better (91.0% of the test texts right, this "
        "model 50.0%): do not promote it; what would help most: "
    )


def test_a_loss_that_may_be_chance_asks_for_more_texts() -> None:
    found = verdict(*texts((0, 1, 2)), baselines=Baselines(baseline(0.3, 40, 1), baseline(0.99, 1, 2)))
    assert (found.grade, found.promote) == (Grade.EVEN, False)
    assert "is as good, as far as the test texts show (99.0%" in found.sentence
    assert found.advice == "test it on more texts before you promote it"


def test_a_model_no_better_than_the_most_frequent_class_is_not_ready() -> None:
    found = verdict(*texts((0, 1, 39), (1, 2, 39)), baselines=Baselines(baseline(0.33, 6, 5), None))
    assert (found.grade, found.promote) == (Grade.UNREADY, False)
    assert "do not promote it, the most frequent class alone gives 33%" in found.sentence


def test_an_unsure_model_suggests_answers() -> None:
    found = verdict(*texts((0, 1, 2)), coverage=0.3)
    assert (found.grade, found.promote) == (Grade.ASSISTS, True)
    assert found.good_for.startswith(
        "good enough to suggest an answer that a person confirms (98% of the test"
    )
    assert verdict(*texts((0, 1, 2)), coverage=0.0, accepted_accuracy=None).grade is Grade.ASSISTS


def test_the_remedy_that_concerns_the_most_errors_is_first() -> None:
    targets, predicted = texts((0, 1, 20), (0, 2, 3), (1, 0, 2), (2, 1, 4))
    found = verdict(targets, predicted, counts=(5, 40, 40))
    assert found.remedies == (
        "more texts for 'bill' (5 training texts, 17 of 40 right)",
        "clearer labels for 'bill' and 'card': 22 texts of one were taken for the other",
        "more test texts: with 120, the accuracy is between 67% and 83%",
    )
    assert [weak.label for weak in found.weakest] == ["bill", "rate", "card"]


def test_truncated_texts_are_named_if_they_are_wrong_more_often() -> None:
    targets, predicted = texts((0, 1, 20))
    wrong = targets != predicted
    remedy = verdict(targets, predicted, counts=(60, 30, 30), cut=wrong).remedies[0]
    assert remedy == (
        "longer inputs (base.max_length, or base.truncation=head_tail): 17% of the test texts are cut at 128 "
        "tokens, 20 of the 20 wrong ones among them"
    )
    both_ends = verdict(targets, predicted, counts=(60, 30, 30), cut=wrong, truncation=HEAD_TAIL)
    assert both_ends.remedies[0].startswith("longer inputs (base.max_length): 17% of")
    everywhere = verdict(targets, predicted, counts=(60, 30, 30), cut=np.ones(120)).remedies
    assert any(text.startswith("longer inputs") for text in everywhere)
    elsewhere = verdict(targets, predicted, counts=(60, 30, 30), cut=~wrong).remedies
    assert not any(text.startswith("longer inputs") for text in elsewhere)


def test_a_class_with_one_test_text_is_not_the_weakest_and_is_counted() -> None:
    targets, predicted = texts((0, 1, 30))
    targets, predicted = np.append(targets[:80], 2), np.append(predicted[:80], 1)
    found = verdict(targets, predicted, counts=(30, 30, 1))
    assert [str(weak) for weak in found.weakest] == [
        "'bill' (30 training texts, 10 of 40 right)",
        "'rate' (1 training text, tested on 1 text, wrong)",
    ]
    assert found.tested_on_one == 1


def test_a_shortcut_is_the_first_remedy_also_of_a_model_without_errors() -> None:
    targets, predicted = texts((0, 1, 20))
    shortcut = Shortcut(SharedPhrase("sent by form", "card", 25, 30, 0), 36, 40)
    figures = {
        "test_accuracy_interval": interval(100, 120),
        "coverage": 0.9,
        "accepted_accuracy": 0.95,
        "per_class": metrics.class_report(targets, predicted, LABELS),
    }
    result = ModelOnTest(
        figures,
        WEAK_BASELINES,
        LABELS,
        (5, 30, 30),
        targets,
        predicted,
        np.zeros(120, bool),
        128,
        (shortcut,),
    )
    found = judge(result)
    assert found.remedies[0] == (
        "texts of 'card' without 'sent by form': this phrase is in 25 of its 30 training texts and in no "
        "other, and put before 40 test texts of other classes it turns 36 into 'card'"
    )
    assert found.remedies[1].startswith("more texts for 'bill'")
    assert judge(replace(result, predicted=targets)).remedies[0] == found.remedies[0]


def test_a_model_without_errors_needs_no_remedy() -> None:
    found = verdict(*texts())
    assert found.remedies == ()
    assert found.sentence.endswith("this model 100.0%).")


def test_multi_label_figures_are_judged_by_exact_match() -> None:
    targets = np.tile([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], (20, 1))
    predicted = targets.copy()
    predicted[:4, 2] = 0.0
    found = judge(
        ModelOnTest(
            {
                "test_exact_match_interval": interval(38, 40),
                "test_micro_f1": 0.97,
                "coverage": 0.2,
                "accepted_accuracy": 1.0,
                "per_class": metrics.class_report(targets, predicted, LABELS),
            },
            WEAK_BASELINES,
            LABELS,
            (20, 20, 20),
            targets,
            predicted,
            np.zeros(40, dtype=bool),
            128,
        )
    )
    assert found.grade is Grade.ASSISTS
    assert [weak.label for weak in found.weakest] == ["rate"]


def test_confusion_in_one_direction_is_no_matter_of_the_labels() -> None:
    remedies = verdict(*texts((0, 1, 20)), counts=(60, 30, 30)).remedies
    assert not any(text.startswith("clearer labels") for text in remedies)
