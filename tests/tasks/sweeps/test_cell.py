from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.split import load_part
from tasks.sweeps import cell as cells
from tasks.sweeps.cell import Cell, copy_texts, load_result, run_cell
from tasks.sweeps.space import settings_of
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.project import Layout


def new_cell(layout: Layout, fold: int = 0, **changes: int) -> Cell:
    settings = settings_of(layout.params, (), changes.get("seed", 0))
    return Cell(settings, fold, 3, copy_texts(layout), "hash")


def test_a_cell_is_computed_once_and_gives_the_same_numbers_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = new_cell(layout)
    assert load_result(layout, cell) is None
    first = run_cell(layout.root, cell)
    assert load_result(layout, cell) == first
    assert first["figures"].keys() >= {"accuracy", "macro_f1", "calibration_error", "coverage"}
    assert (first["texts"], first["epochs"]) == (12, 2)

    with monkeypatch.context() as context:
        context.setattr(cells, "fit_classifier", None)  # would fail
        assert run_cell(layout.root, cell) == first

    next(layout.sweep.glob("cells/*.json")).unlink()
    assert run_cell(layout.root, cell)["figures"] == first["figures"]


def test_the_test_texts_are_never_read_and_the_fold_is_not_trained_on(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layout.split / "test.jsonl").write_text("no JSON\n")
    train, seen = load_part(layout, "train"), []

    def fit(inside: Examples, validation: Examples, *rest: object) -> None:
        seen.append((set(inside.texts), set(validation.texts)))
        raise InputError("stop")

    monkeypatch.setattr(cells, "fit_classifier", fit)
    for fold in range(3):
        with pytest.raises(InputError, match="stop"):
            run_cell(layout.root, new_cell(layout, fold))
    trained = [inside for inside, _ in seen]
    assert all(len(inside) == 24 for inside in trained)
    assert set().union(*trained) == set(train.texts)
    assert not set.intersection(*trained)
    assert {frozenset(validation) for _, validation in seen} == {
        frozenset(load_part(layout, "validation").texts)
    }


def test_the_key_depends_on_what_decides_the_result(layout: Layout) -> None:
    cell = new_cell(layout)
    others = [
        new_cell(layout, 1),
        new_cell(layout, seed=1),
        replace(cell, folds=4),
        replace(cell, data="other"),
        replace(cell, base="other"),
        replace(cell, settings=settings_of(layout.params, ("mask.budget=0.2",), 0)),
    ]
    assert len({cell.key, *(other.key for other in others)}) == 7
    assert new_cell(layout).key == cell.key
    layout.params.write_text(
        layout.params.read_text().replace("max_accuracy_drop: 0.003", "max_accuracy_drop: 0.01")
    )
    assert new_cell(layout).key == cell.key


def test_a_damaged_file_is_computed_again(layout: Layout) -> None:
    cell = new_cell(layout)
    first = run_cell(layout.root, cell)
    next(layout.sweep.glob("cells/*.json")).write_text("{")
    assert load_result(layout, cell) is None
    assert run_cell(layout.root, cell)["figures"] == first["figures"]


def test_the_texts_are_copied_and_those_of_other_data_deleted(layout: Layout) -> None:
    first = copy_texts(layout)
    assert copy_texts(layout) == first
    load_part(layout, "train").take(range(20)).save(layout.split / "train.jsonl")
    second = copy_texts(layout)
    assert second != first
    assert [path.name for path in layout.sweep.glob("texts/*")] == [second]


def test_a_worker_without_the_project_says_what_it_needs(layout: Layout, tmp_path: Path) -> None:
    cell = new_cell(layout)
    with pytest.raises(InputError, match="every worker needs the project's folder at the same path"):
        run_cell(tmp_path / "elsewhere", cell)
    assert not (tmp_path / "elsewhere").exists()
