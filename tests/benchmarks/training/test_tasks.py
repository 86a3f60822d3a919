from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from benchmarks.training.experiment import Setup
from benchmarks.training.tasks import data_hash, draw, task_files
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
    assert len(sample.test)
    assert not set(sample.test.texts) & (set(usual.test.texts) | set(sample.train.texts))


def test_a_repeated_text_is_one_shot(tmp_path: Path) -> None:
    rows = [
        (text, label)
        for label in "ab"
        for text in (f"{label} one", f"{label} ONE", f"{label} two", f"{label} three", f"{label} four")
    ]
    _write(tmp_path / "twice" / "train.csv", rows)
    _write(tmp_path / "twice" / "test.csv", [("a test", "a"), ("b test", "b")])
    sample = draw(tmp_path, "twice", 3, 0)
    assert Counter(sample.train.labels) == {("a",): 3, ("b",): 3}


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
    with pytest.raises(InputError, match=r"task 'tinny': .* has no such folder; it has several, tiny"):
        task_files(setup.data, "tinny")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "texts.csv").write_text("text,label\nhello,a\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"has no train.csv; .* or with CSV files that have a column 'fold'"):
        task_files(tmp_path, "other")
    (setup.data / "tiny" / "test.csv").unlink()
    with pytest.raises(InputError, match=r"has no test.csv"):
        task_files(setup.data, "tiny")


def test_samples_of_no_texts_are_refused(setup: Setup) -> None:
    with pytest.raises(InputError, match="0 texts per class are asked for; use a whole number from 1"):
        draw(setup.data, "tiny", 0, 0)


def test_a_test_label_that_training_lacks_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "odd" / "train.csv", [(f"{label} {i}", label) for label in "ab" for i in range(5)])
    _write(tmp_path / "odd" / "test.csv", [("what", "c")])
    with pytest.raises(InputError, match="label 'c' of its test set does not occur in training"):
        draw(tmp_path, "odd", 2, 0)


def test_files_with_folds_are_one_task_and_the_last_quarter_of_the_folds_its_test_set(tmp_path: Path) -> None:
    for name, folds in (("a", range(6)), ("b", range(2, 12))):
        _write(
            tmp_path / "folds" / f"{name}.csv",
            [(str(fold), f"{name} {fold}", "x") for fold in folds],
            "fold,text,label",
        )
    sample = draw(tmp_path, "folds", None, 0)
    assert sorted(sample.test.texts) == ["b 10", "b 11", "b 9"]
    assert sample.validation is not None
    assert len(sample.train) + len(sample.validation) == 6 + 10 - 3
    assert [part.partition(":")[0] for part in data_hash(tmp_path, "folds").split()] == ["a", "b"]


def test_one_fold_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "folds" / "a.csv", [("0", "one", "x"), ("0", "two", "y")], "fold,text,label")
    with pytest.raises(InputError, match="task 'folds': its files have one fold, '0'"):
        draw(tmp_path, "folds", None, 0)


@pytest.mark.parametrize("shots", [3, None])
def test_several_labels_a_text(setup: Setup, shots: int | None) -> None:
    sample = draw(setup.data, "several", shots, 0)
    assert sample.labels == ["address", "card_lost", "question", "topup", "track"]
    assert len(sample.test) == 15
    targets = sample.targets(sample.train)
    assert (targets.dtype, targets.shape) == (torch.float32, (len(sample.train), 5))
    assert targets.sum(0).min() >= 3
    assert () in sample.train.labels
    question = sample.labels.index("question")
    assert all(
        text.endswith("?") == bool(row[question])
        for text, row in zip(sample.train.texts, targets, strict=True)
    )


def test_train_and_test_files_may_have_several_labels(tmp_path: Path) -> None:
    rows = [(f"text {i}", "a|b" if i % 2 else "b") for i in range(20)]
    _write(tmp_path / "split" / "train.csv", rows[:16], "text,labels")
    _write(tmp_path / "split" / "test.csv", rows[16:], "text,labels")
    sample = draw(tmp_path, "split", 2, 0)
    assert sample.labels == ["a", "b"]
    assert sample.targets(sample.test).tolist() == [[0, 1], [1, 1], [0, 1], [1, 1]]


def _write(path: Path, rows: list[tuple[str, ...]], header: str = "text,label") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *(",".join(row) for row in rows), ""]), encoding="utf-8")
