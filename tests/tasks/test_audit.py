"""The stage audit on tiny projects: what it finds, and that no data stop it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.auditing.audit_report import NAME, Audit, ClassSize
from tasks.auditing.review_file import read_review
from tests.tasks.conftest import Audited
from tokensieve.errors import InputError

# Each class has words of its own.
WORDS = {
    "card": ("card", "lost"),
    "refund": ("money", "back"),
    "track": ("parcel", "order"),
}
FILLERS = ("my", "the", "where", "is", "when", "how", "why", "was", "please", "not", "do", "I")


def clean_rows() -> list[tuple[str, str]]:
    return [
        (f"{FILLERS[i]} {words[i % 2]} {FILLERS[(i + 5) % 12]} {words[(i + 1) % 2]}", label)
        for label, words in WORDS.items()
        for i in range(12)
    ]


def test_a_wrong_label_is_found_and_the_right_one_suggested(
    audited: Audited, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tokensieve")
    rows = clean_rows()
    rows[3] = (rows[3][0], "track")
    layout, _ = audited(rows)
    found = Audit.load(layout.audit)
    logged = f"audit: {found.headline()}; {layout.review} has {found.reviewed} rows"
    assert [own.getMessage() for own in caplog.records if own.name == "tokensieve"] == [logged]
    first = found.label_errors[0]
    assert (first.row.row, first.row.labels, first.suggested) == (4, ("track",), "card")
    assert first.given_probability < 0.2 < first.suggested_probability
    assert found.judged == 36
    assert found.agreement > 0.8
    assert found.headline().startswith(f"{len(found.label_errors)} likely label error")
    assert "doubtful label" in replace(found, agreement=0.7).headline()
    assert found.totals["label_errors"] == len(found.label_errors)
    answer = read_review(layout.review)[0]
    assert (answer.file, answer.row, answer.right) == ("train.csv", 4, "")


def test_copies_with_other_labels_and_copies_of_test_texts_come_first(audited: Audited) -> None:
    rows = clean_rows()
    train = [*rows, ("My card?", "card"), ("my card", "refund"), ("The parcel!", "track")]
    test = [("the parcel", "track"), ("lost money", "refund"), ("card now", "card")]
    layout, _ = audited(train, test)
    found = Audit.load(layout.audit)
    conflict, leak = found.duplicate_sets[:2]
    assert (conflict.kind, conflict.conflict) == ("copy", True)
    assert {(row.file, row.row) for row in conflict.rows} == {("train.csv", 37), ("train.csv", 38)}
    assert {(row.file, row.row) for row in leak.rows} == {("train.csv", 39), ("test.csv", 1)}
    assert (leak.kind, leak.leak) == ("copy", True)
    assert (found.totals["conflicts"], found.totals["leaks"]) >= (1, 1)
    assert {answer.row for answer in read_review(layout.review)[:2]} == {37, 38}


def test_classes_lengths_and_lookalikes(audited: Audited) -> None:
    rows = clean_rows()
    rows += [("my card is lost now", "Card"), ("lost the card", "Card"), ("where my card", "Card")]
    rows += [("my order is late and the parcel has not arrived", "track")]
    layout, _ = audited(rows)
    found = Audit.load(layout.audit)
    assert found.classes[0] == ClassSize("track", 13)
    assert found.small_classes == (ClassSize("Card", 3),)
    assert found.lookalikes == ((ClassSize("card", 12), ClassSize("Card", 3)),)
    assert found.lengths["truncated"] == 1
    assert found.lengths["longest"] > found.lengths["max_length"] == 8
    assert found.judged == 37  # too few texts of Card
    assert "1 group of labels that look alike, 1 class with few texts" in found.headline()


def test_multi_label_data(audited: Audited) -> None:
    rows = [(text, f"{label}|all") for text, label in clean_rows()]
    rows[3] = (rows[3][0], "all")  # lacks card
    rows[15] = (rows[15][0], "all|refund|track")  # has track
    rows += [("Where is it?", "all"), ("where is it", "rare")]
    layout, _ = audited(rows, label_separator="|")
    found = Audit.load(layout.audit)
    assert (found.judged, found.not_judged, found.overlaps) == (38, "", ())
    wrong = {own.row.row: own for own in found.label_errors}
    assert wrong[4].suggested == "all|card"
    assert wrong[16].suggested == "all|refund"
    assert wrong[16].given_probability < 0.5 < wrong[16].suggested_probability
    assert found.totals["label_errors"] == len(wrong) < 10
    assert found.classes[0] == ClassSize("all", 37)
    assert found.duplicate_sets[0].conflict


def test_labels_with_few_texts_are_not_judged_in_multi_label_data(audited: Audited) -> None:
    layout, _ = audited([(text, f"{label}|all") for text, label in clean_rows()[:4]], label_separator="|")
    assert "no label has 5 texts" in Audit.load(layout.audit).not_judged


@pytest.mark.parametrize("per_class", [3, 4])
def test_few_texts_are_no_error(audited: Audited, per_class: int) -> None:
    rows = clean_rows()
    layout, _ = audited([row for start in (0, 12, 24) for row in rows[start : start + per_class]])
    found = Audit.load(layout.audit)
    assert "fewer than 2 classes have 5 texts" in found.not_judged
    assert len(found.small_classes) == 3


def test_a_report_that_is_missing_or_of_another_version_is_named(audited: Audited) -> None:
    layout, _ = audited(clean_rows())
    (layout.audit / NAME).write_text('{"parts": {}}')
    with pytest.raises(InputError, match="another version"):
        Audit.load(layout.audit)
    (layout.audit / NAME).unlink()
    with pytest.raises(InputError, match="run tokensieve audit"):
        Audit.load(layout.audit)
    assert Audit.load_or_none(layout.audit) is None
