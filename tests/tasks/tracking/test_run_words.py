from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.tracking.run_words import data_name, description, run_name
from tasks.versioning.data_versions import DataVersion

DATA = DataVersion("0a" * 16 + ".dir", "2026-11-28T22:19:27+00:00", "/home/me/mails.csv", {"train": 1200})
EVALUATED: dict[str, Any] = {
    "test_accuracy": 0.9123,
    "test_accuracy_interval": [0.9, 0.92],
    "baselines": {"tfidf": {"accuracy": 0.8}},
    "verdict": {
        "promote": True,
        "sentence": "good enough: promote it.",
        "weakest": [{"label": "a|b", "correct": 1, "texts": 4, "train_texts": 9}],
    },
}


def test_the_name_of_a_run_has_version_data_and_accuracy() -> None:
    assert run_name("3", DATA, EVALUATED) == "v3 mails.csv 0.912"
    assert run_name("3", DATA, {"test_exact_match": 0.5}) == "v3 mails.csv 0.500"
    assert run_name("3", None, {}) == "v3"


@pytest.mark.parametrize(
    ("source", "names", "parent", "name"),
    [
        ("data/freight", {"train": "train.csv"}, "", "freight"),
        ("https://host/a/mails.jsonl", {}, "", "mails.jsonl"),
        ("/projects/x/data/raw", {"train": "mails.csv"}, "", "mails.csv"),
        ("/projects/x/data/raw", {}, "", "raw"),
        ("review.csv", {"train": "mails.csv"}, "0b.dir", "mails.csv"),
    ],
)
def test_the_data_have_the_name_that_the_user_knows(
    source: str, names: dict[str, str], parent: str, name: str
) -> None:
    assert data_name(replace(DATA, source=source, names=names, parent=parent)) == name


def test_the_description_begins_with_the_verdict_and_names_the_next_command() -> None:
    found = description("mails", "3", DATA, EVALUATED, {"evaluation/classes.json", "other"})
    first, second, *_ = found.split("\n\n")
    assert first == "**Good enough: promote it.**"
    assert second.startswith("Promote it: `tokensieve promote --version 3`")
    assert "| accuracy | 0.9123 (0.900 to 0.920) |" in found
    assert "'a\\|b' (9 training texts, 1 of 4 right)" in found
    assert "`/home/me/mails.csv` (train 1,200)" in found
    assert "`evaluation/classes.json`" in found
    assert "report.html" not in found


def test_the_description_of_a_model_to_leave_says_so() -> None:
    refused = EVALUATED | {"verdict": {"promote": False, "sentence": "not good enough."}}
    assert "The verdict advises against it, but to promote: `tok" in description(
        "m", "3", None, refused, set()
    )


def test_an_evaluation_of_an_earlier_version_has_a_description_too() -> None:
    assert description("m", "1", None, {}, set()).startswith("Promote it: ")
