from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.cell import Setup
from benchmarks.sample import data_hash, draw, task_files
from tokensieve.errors import InputError


def test_shots_are_drawn_by_seed_and_the_test_set_stays_whole(setup: Setup) -> None:
    first, again, other = (draw(setup.data, "tiny", 3, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.train.texts != other.train.texts
    assert set(Counter(first.train.labels).values()) == {3}
    assert first.validation is None
    assert first.test == other.test
    assert len(first.test) == 20


def test_all_texts_leave_a_tenth_for_validation(setup: Setup) -> None:
    sample = draw(setup.data, "tiny", None, 0)
    assert sample.validation is not None
    assert (len(sample.train), len(sample.validation)) == (35, 5)
    assert not set(sample.train.texts) & set(sample.validation.texts)


def test_a_held_out_part_holds_no_test_text_and_no_drawn_one(setup: Setup) -> None:
    sample, usual = (draw(setup.data, "tiny", 3, 0, held_out) for held_out in (True, False))
    assert sample.train == usual.train
    assert not set(sample.test.texts) & (set(usual.test.texts) | set(sample.train.texts))


def test_a_repeated_text_is_one_shot(tmp_path: Path) -> None:
    rows = [(text, label) for label in "ab" for text in (f"{label} one", f"{label} ONE", f"{label} two", f"{label} three", f"{label} four")]
    _write(tmp_path / "twice" / "train.csv", rows)
    _write(tmp_path / "twice" / "test.csv", [("a test", "a"), ("b test", "b")])
    sample = draw(tmp_path, "twice", 3, 0)
    assert Counter(sample.train.labels) == {"a": 3, "b": 3}


def test_training_texts_that_stand_in_the_test_set_are_dropped(tmp_path: Path) -> None:
    rows = [(f"{label} {i}", label) for label in "ab" for i in range(5)]
    _write(tmp_path / "leak" / "train.csv", rows)
    _write(tmp_path / "leak" / "test.csv", [("A 0", "a"), ("b test", "b")])
    sample = draw(tmp_path, "leak", None, 0)
    assert sample.validation is not None
    assert "a 0" not in {*sample.train.texts, *sample.validation.texts}


def test_a_changed_file_changes_the_hash(setup: Setup) -> None:
    before = data_hash(setup.data, "tiny")
    with (setup.data / "tiny" / "train.csv").open("a", encoding="utf-8") as file:
        file.write("one more refund,refund\n")
    assert data_hash(setup.data, "tiny") != before


def test_tasks_that_are_none_are_refused(tmp_path: Path, setup: Setup) -> None:
    with pytest.raises(InputError, match=r"task 'tinny': .* has no such folder; it has tiny"):
        task_files(setup.data, "tinny")
    (tmp_path / "multi").mkdir()
    (tmp_path / "multi" / "banking.csv").write_text("fold,text,labels\n0,hello,a|b\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"banking\.csv has a column 'labels'; tasks with several labels a text are not measured"):
        task_files(tmp_path, "multi")
    (setup.data / "tiny" / "test.csv").unlink()
    with pytest.raises(InputError, match=r"holds no test.csv"):
        task_files(setup.data, "tiny")


def test_a_test_label_that_training_lacks_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "odd" / "train.csv", [(f"{label} {i}", label) for label in "ab" for i in range(5)])
    _write(tmp_path / "odd" / "test.csv", [("what", "c")])
    with pytest.raises(InputError, match="label 'c' of its test set does not occur in training"):
        draw(tmp_path, "odd", 2, 0)


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
