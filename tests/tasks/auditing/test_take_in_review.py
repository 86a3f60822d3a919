"""The answers of a review become a version of the data that names the one before it."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.auditing.audited_texts import join_labels
from tasks.auditing.review_file import COLUMNS, REMOVE, text_id
from tasks.auditing.take_in_review import TakenIn, take_in_review
from tasks.ingest import ingest
from tasks.versioning.data_versions import data_hash, data_versions, file_names, shown_names
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings

ROWS = [("one", "a"), ("two", "b"), ("=three", "a"), ("four", "b"), ("same", "a"), ("same", "a")]
Reviewed = Callable[..., TakenIn]


@pytest.fixture
def reviewed(layout: Layout, tmp_path: Path) -> Reviewed:
    """Ingests ROWS as shop.csv and takes in answers by row."""
    source = tmp_path / "shop.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "id"), *((*row, i) for i, row in enumerate(ROWS))])
    ingest(layout, Settings(), str(source))

    def take(
        answers: dict[int, str],
        rows: list[tuple[str, str]] = ROWS,
        file: str = "shop.csv",
        **options: bool,
    ) -> TakenIn:
        path = tmp_path / "review.csv"
        with path.open("w", encoding="utf-8-sig", newline="") as table:
            writer = csv.DictWriter(table, COLUMNS, restval="")
            writer.writeheader()
            for number, (text, label) in enumerate(rows, 1):
                known = {"file": file, "row": number, "text_id": text_id(text, (label,))}
                writer.writerow(known | {"right_label": answers.get(number, "")})
        return take_in_review(layout, Settings(), path, **options)

    return take


def test_a_review_must_not_remove_every_row(layout: Layout, reviewed: Reviewed) -> None:
    before = data_hash(layout)
    with pytest.raises(
        InputError, match=r"review.csv removes all 6 rows of shop.csv; at least one has to stay"
    ):
        reviewed(dict.fromkeys(range(1, 7), "(Remove)"))
    assert data_hash(layout) == before


def test_answers_change_labels_remove_rows_and_leave_the_others(layout: Layout, reviewed: Reviewed) -> None:
    before = data_hash(layout)
    done = reviewed({1: "b", 2: "b", 3: REMOVE, 6: "b"})
    assert (done.changed, done.removed, done.confirmed, done.unanswered, done.missing) == (2, 1, 1, 2, 0)
    assert (layout.raw / "train.csv").read_text() == (
        "text,label,id\none,b,0\ntwo,b,1\nfour,b,3\nsame,a,4\nsame,b,5\n"
    )
    version = data_versions(layout)[-1]
    assert (version.data_hash, version.parent) == (data_hash(layout), before)
    assert (done.before, done.data_hash) == (before, data_hash(layout))
    assert version.rows == {"train": 5}
    assert file_names(layout) == {"train": "shop.csv"}
    assert version.source == f"{data_versions(layout)[0].source}, reviewed"


def test_after_a_review_messages_name_the_file_that_has_the_lines(layout: Layout, reviewed: Reviewed) -> None:
    files = {"train": layout.raw / "train.csv"}
    assert shown_names(layout, files) == {"train": "shop.csv"}
    reviewed({1: "b"})
    assert shown_names(layout, files) == {"train": "data/raw/train.csv"}
    reviewed({2: "a"}, rows=[("one", "b"), *ROWS[1:]])
    first, _, last = data_versions(layout)
    assert last.source == f"{first.source}, reviewed"


@pytest.mark.parametrize("file", ["shop.csv", "data/raw/train.csv"])
def test_a_copy_is_found_by_either_name_of_its_file(layout: Layout, reviewed: Reviewed, file: str) -> None:
    reviewed({1: "b"})
    done = reviewed({6: "b"}, rows=[("one", "b"), *ROWS[1:]], file=file)
    assert (done.changed, done.missing) == (1, 0)
    assert "same,a,4\nsame,b,5\n" in (layout.raw / "train.csv").read_text()


def test_an_answer_to_a_multi_label_text_is_a_set_of_labels(layout: Layout, tmp_path: Path) -> None:
    settings = Settings.of({"data": {"label_separator": ";"}})
    source, review = tmp_path / "shop.csv", tmp_path / "review.csv"
    source.write_text("text,label\none,a\ntwo,a;b\nthree,b\n", encoding="utf-8")
    ingest(layout, settings, str(source))
    answers = [("one", ("a",), "b|a"), ("two", ("a", "b"), "|"), ("three", ("b",), join_labels(["b"]))]
    with review.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row, (text, labels, right) in enumerate(answers, 1):
            known = {"file": "shop.csv", "row": row, "text_id": text_id(text, labels)}
            writer.writerow(known | {"right_label": right})
    done = take_in_review(layout, settings, review)
    assert (done.changed, done.removed, done.confirmed, done.missing) == (2, 0, 1, 0)
    assert (layout.raw / "train.csv").read_text() == "text,label\none,a;b\ntwo,\nthree,b\n"


def test_a_version_without_a_parent_has_the_form_that_it_had(layout: Layout, reviewed: Reviewed) -> None:
    assert "parent" not in json.loads(layout.versions.read_text().splitlines()[0])


def test_confirmed_labels_make_no_version(layout: Layout, reviewed: Reviewed) -> None:
    done = reviewed({1: "a"})
    assert done.before == done.data_hash
    assert len(data_versions(layout)) == 1


def test_a_text_is_found_where_it_is_now(layout: Layout, reviewed: Reviewed) -> None:
    moved = [("gone", "a"), ROWS[3], ROWS[0]]
    done = reviewed({2: "a"}, rows=moved)
    assert done.changed == 1
    assert "four,a,3" in (layout.raw / "train.csv").read_text()


def test_texts_that_are_gone_are_named(
    layout: Layout, reviewed: Reviewed, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tokensieve"):
        done = reviewed({1: "b", 2: "b", 4: "b"}, rows=[ROWS[0], ("secret", "a"), *ROWS[2:4]])
    assert (done.changed, done.missing) == (1, 1)
    assert "shop.csv row 2 (line 3 of the review)" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({}, "has no answer"),
        ({1: "c"}, r"line 2: no text has the label 'c'; if it is a new class, add --new-labels"),
        ({1: "B"}, "no text has the label 'B'"),
    ],
)
def test_wrong_answers_change_nothing(
    layout: Layout, reviewed: Reviewed, answers: dict[int, str], message: str
) -> None:
    before = (layout.raw / "train.csv").read_bytes()
    with pytest.raises(InputError, match=message):
        reviewed(answers)
    assert (layout.raw / "train.csv").read_bytes() == before
    assert len(data_versions(layout)) == 1


def test_other_texts_and_two_answers_for_one_row_are_refused(reviewed: Reviewed) -> None:
    with pytest.raises(InputError, match="none of its 1 answered texts is in the data"):
        reviewed({1: "b"}, rows=[("gone", "a")])
    with pytest.raises(InputError, match="lines 2 and 3 answer 'b' and 'a' for one row"):
        reviewed({1: "b", 2: "a"}, rows=[ROWS[0], ROWS[0]])


def test_a_new_label_is_taken_if_it_is_confirmed(layout: Layout, reviewed: Reviewed) -> None:
    reviewed({1: "c"}, new_labels=True)
    assert "one,c,0" in (layout.raw / "train.csv").read_text()
