from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.sweeps.space import (
    Choices,
    Range,
    combinations,
    present,
    read_seeds,
    read_space,
    settings_of,
)
from tokensieve.errors import InputError
from tokensieve.settings import render


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(render(), encoding="utf-8")
    return path


def test_a_grid_is_every_combination_in_its_order(params: Path) -> None:
    space = read_space(params, ["mask.budget=0.05, 0.1,0.05", "mask.unit=rows,columns"], searches=False)
    assert space == (Choices("mask.budget", ("0.05", "0.1")), Choices("mask.unit", ("rows", "columns")))
    assert combinations(space) == [
        ("mask.budget=0.05", "mask.unit=rows"),
        ("mask.budget=0.05", "mask.unit=columns"),
        ("mask.budget=0.1", "mask.unit=rows"),
        ("mask.budget=0.1", "mask.unit=columns"),
    ]
    assert combinations(()) == [()]


def test_a_combination_and_a_seed_give_settings(params: Path) -> None:
    settings = settings_of(params, ("mask.budget=0.05", "finetune.learning_rate=2e-3"), 7)
    assert (settings.mask.budget, settings.finetune.learning_rate, settings.data.seed) == (0.05, 0.002, 7)


def test_ranges_are_for_a_search(params: Path) -> None:
    grid = ["finetune.learning_rate=1e-4..1e-2", "finetune.max_epochs=5..15", "schedule.head_epochs=0..1"]
    space = read_space(params, grid, searches=True)
    assert space == (
        Range("finetune.learning_rate", 1e-4, 1e-2, is_whole=False),
        Range("finetune.max_epochs", 5, 15, is_whole=True),
        Range("schedule.head_epochs", 0.0, 1.0, is_whole=False),
    )
    assert [values.is_log for values in space if isinstance(values, Range)] == [True, False, False]
    with pytest.raises(InputError, match=r"is a range; list its values, or search it with --trials N"):
        read_space(params, grid, searches=False)


def test_a_path_with_two_dots_is_no_range(params: Path) -> None:
    assert read_space(params, ["base.model=../a,../b"], searches=False) == (
        Choices("base.model", ("../a", "../b")),
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("mask.budget", "--grid 'mask.budget' is not of the form section.key=value,value"),
        ("budget=0.1", "is not of the form section.key=value,value"),
        ("mask.budget=0.1,2", "--grid: mask.budget is 2 (allowed: 0.0001 to 1.0)"),
        ("mask.budget=0.1,", "--grid 'mask.budget=0.1,' has an empty value; separate values by one comma"),
        ("mask.budgte=0.1", "unknown setting 'mask.budgte'. Did you mean 'budget'?"),
        ("data.seed=0,1", "--grid data.seed: this setting does not change what is trained; use --seeds"),
        ("export.max_accuracy_drop=0.01", "sections that do: base, vocabulary, mask, schedule, finetune"),
        ("finetune.threads=1,2", "does not change what is trained"),
        ("mask.budget=0.2..0.1", "--grid mask.budget=0.2..0.1 is not a range; use mask.budget=LOW..HIGH"),
    ],
)
def test_a_wrong_entry_names_key_value_and_what_is_allowed(params: Path, entry: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read_space(params, [entry], searches=True)


def test_a_setting_is_named_once(params: Path) -> None:
    with pytest.raises(InputError, match=r"--grid names mask.budget twice; .* mask.budget=A,B"):
        read_space(params, ["mask.budget=0.1", "mask.budget=0.2"], searches=False)


def test_the_present_value_is_found_among_texts_and_in_ranges(params: Path) -> None:
    grid = ["mask.budget=0.05,1e-1", "finetune.max_epochs=5..15"]
    assert present(params, read_space(params, grid, searches=True)) == {
        "mask.budget": "1e-1",
        "finetune.max_epochs": 10,
    }
    for missing in ("mask.budget=0.2,0.3", "finetune.max_epochs=11..15"):
        assert present(params, read_space(params, [missing], searches=True)) is None


def test_seeds_are_numbers_and_ranges() -> None:
    assert read_seeds("0") == (0,)
    assert read_seeds("7, 0-2,1") == (0, 1, 2, 7)
    for wrong in ("", "a", "3-1", "-1", "1.5", "0,"):
        with pytest.raises(InputError, match=r"--seeds is .*; use numbers and ranges"):
            read_seeds(wrong)
