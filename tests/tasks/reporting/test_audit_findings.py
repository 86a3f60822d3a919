from __future__ import annotations

from dataclasses import replace
from typing import Any

from tasks.auditing.audit_report import Audit, AuditedRow, ClassSize, Duplicates, LabelError, Outlier
from tasks.reporting.audit_findings import findings, length_facts, remedy
from tokensieve.audit.classes import Overlap

ROW = AuditedRow("x.csv", 7, "train", ("bill",), "my private words", line=9)
OTHER = AuditedRow("y.csv", 8, "test", (), "my private word")
NOTHING: dict[str, Any] = {
    "parts": {"train": 100},
    "judged": 100,
    "not_judged": "",
    "totals": {"label_errors": 0, "conflicts": 0, "leaks": 0, "outliers": 0},
    "label_errors": (),
    "duplicate_sets": (),
    "overlaps": (),
    "classes": (),
    "small_classes": (),
    "lookalikes": (),
    "lengths": {"median": 12, "p99": 30, "longest": 41},
    "outliers": (),
    "reviewed": 0,
}


def audit(**found: Any) -> Audit:
    return Audit(**NOTHING | found)


def test_label_errors_are_first_with_both_probabilities() -> None:
    totals = {"label_errors": 40, "conflicts": 1, "leaks": 1, "outliers": 1}
    found = list(
        findings(
            audit(
                totals=totals,
                label_errors=(LabelError(ROW, "card", 0.02, 0.91),),
                duplicate_sets=(Duplicates("copy", 1.0, True, True, 2, (ROW, OTHER)),),
                outliers=(Outlier(OTHER, 0.31),),
            )
        )
    )
    assert [one.title for one in found] == [
        "40 likely label errors",
        "Similar texts with different labels, or in train and test",
        "1 text unlike all others",
    ]
    assert found[0].table.rows == (("my private words", "bill (2%)", "card (91%)", "x.csv, line 9"),)
    assert found[1].table.rows == (
        ("my private words", "bill", "x.csv, line 9 (train)", "1: copy, 2 texts"),
        ("my private word", "no label", "y.csv, row 8 (test)", "1: copy, 2 texts"),
    )
    assert all(one.has_texts for one in found)


def sets(*texts: str) -> tuple[tuple[str, ...], ...]:
    rows = tuple(
        AuditedRow("x.csv", number, "train", (f"label {number % 2}",), text)
        for number, text in enumerate(texts, 1)
    )
    totals = NOTHING["totals"] | {"conflicts": 1}
    copies = Duplicates("copy", 1.0, True, False, len(rows), rows)
    _, found = findings(audit(totals=totals, duplicate_sets=(copies,)))
    return found.table.rows


def test_identical_texts_are_shown_once_with_their_labels_and_places() -> None:
    assert sets("my card", "my card", "My card!") == (
        ("my card", "label 1 / label 0", "x.csv, row 1 (train); x.csv, row 2 (train)", "1: copy, 3 texts"),
        ("My card!", "label 1", "x.csv, row 3 (train)", "1: copy, 3 texts"),
    )
    ((_, _, places, _),) = sets(*["my card"] * 5)
    assert places.endswith("x.csv, row 3 (train) and 2 more")


def test_texts_are_shown_without_html_and_cut_alike() -> None:
    html, plain = sets("<p>My <b>card</b>\nis &amp; was lost</p>", f"<p>{'word ' * 60}"[:300])
    assert html[0] == "My card is & was lost"
    assert (len(plain[0]), plain[0][-6:]) == (200, " word…")
    assert sets("x" * 199)[0][0] == "x" * 199
    assert sets("<br>")[0][0] == "<br>"


def test_a_row_is_named_by_its_line_and_the_users_id() -> None:
    assert replace(ROW, id="T0381").place == "line 9, id 'T0381'"
    assert (ROW.place, OTHER.place) == ("line 9", "row 8")


def test_findings_about_classes_have_no_texts() -> None:
    found = list(
        findings(
            audit(
                overlaps=(Overlap("bill", "card", 3, 4, 0.25),),
                lookalikes=((ClassSize("bill", 9), ClassSize("Bill", 2)),),
                small_classes=(ClassSize("Bill", 2),),
            )
        )
    )
    assert [one.table.rows for one in found[1:]] == [
        (("bill", "card", "7 (25%)"),),
        (("bill (9) / Bill (2)",),),
        (("Bill", "2"),),
    ]
    assert not any(one.has_texts for one in found)


def test_why_labels_were_not_judged_is_shown() -> None:
    (found,) = findings(audit(not_judged="there are too few texts"))
    assert (found.title, found.about) == ("Labels were not judged", "there are too few texts.")


def test_nothing_found_is_no_proof() -> None:
    (found,) = findings(audit())
    assert (found.title, found.has_texts) == ("No likely label errors", False)
    assert found.about.startswith("None in 100 texts; that is no proof: ")
    assert found.about.endswith("it missed 16% to 30%.")
    assert found.table.rows == ()
    assert remedy(audit()) == ("", False)


def test_many_wrong_labels_are_the_first_thing_to_correct() -> None:
    few, many = ({**NOTHING["totals"], "label_errors": count} for count in (1, 3))
    text, first = remedy(audit(totals=few))
    assert (text, first) == ("corrected labels: 1 label is likely wrong (artifacts/audit/review.csv)", False)
    assert remedy(audit(totals=many))[1]


def test_lengths_are_facts_about_the_data() -> None:
    (fact,) = length_facts(audit())
    assert fact.value == "12 in the middle, 30 at most for 99%"


def test_doubts_about_classes_that_are_hard_to_tell_apart_are_no_errors() -> None:
    totals = NOTHING["totals"] | {"label_errors": 40}
    hard = audit(totals=totals, label_errors=(LabelError(ROW, "card", 0.02, 0.91),), agreement=0.63)
    (found,) = findings(hard)
    assert found.title == "40 doubtful labels"
    assert "agrees with the labels of 63% of the texts" in found.about
    assert remedy(hard) == ("corrected labels: 40 labels are doubtful (artifacts/audit/review.csv)", False)
