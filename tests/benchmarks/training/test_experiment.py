from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.methods import METHODS, function_of, method_of
from benchmarks.training import experiment as cells
from benchmarks.training.experiment import Cell, Setup, facts_of, finished, key_of, settings_of
from benchmarks.training.learning_rates import RATES, Rates
from benchmarks.training.results import append
from tokensieve.errors import InputError
from tokensieve.settings import Finetune, Mask, Settings


def test_tokensieve_runs_with_the_defaults_of_the_library(setup: Setup) -> None:
    settings = settings_of(Cell("tiny", None, 0, "tokensieve"), setup)
    assert settings.mask == Mask()
    assert settings.finetune == replace(Finetune(), threads=1)
    assert settings.vocabulary == Settings().vocabulary


def test_a_name_may_change_settings_that_the_method_reads(setup: Setup) -> None:
    assert settings_of(Cell("tiny", 5, 3, "random_mask@0.02"), setup).mask.budget == 0.02
    changed = settings_of(
        Cell(
            "tiny", 5, 3, "tokensieve@mask.unit=entries+schedule.all_layer_epochs=0+vocabulary.new_tokens=5"
        ),
        setup,
    )
    assert (changed.mask.unit, changed.schedule.all_layer_epochs, changed.vocabulary.new_tokens) == (
        "entries",
        0.0,
        5,
    )
    assert changed.finetune == settings_of(Cell("tiny", 5, 3, "tokensieve"), setup).finetune
    with pytest.raises(InputError, match=r"'lora' does not read 'mask.budget'; it reads base\.model, "):
        method_of("lora@0.1")
    with pytest.raises(InputError, match=r"method 'fish@much': mask\.budget is 'much'; use a number"):
        settings_of(Cell("tiny", 5, 3, "fish@much"), setup)
    with pytest.raises(InputError, match="methods: tokensieve, end_to_end"):
        method_of("adapters")


def test_all_methods_have_as_many_epochs(setup: Setup) -> None:
    assert {settings_of(Cell("tiny", 5, 3, name), setup).finetune.max_epochs for name in METHODS} == {
        Finetune().max_epochs
    }
    assert settings_of(Cell("tiny", 5, 3, "end_to_end@finetune.max_epochs=8"), setup).finetune.max_epochs == 8


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_function_and_rates_if_it_is_trained_by_our_steps(name: str) -> None:
    if name == "setfit":
        pytest.importorskip("setfit")
    assert callable(function_of(name))
    assert (name in RATES) == ("finetune.max_epochs" in METHODS[name].reads)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "benchmarks.methods.setfit", raising=False)
    monkeypatch.setitem(sys.modules, "setfit", None)
    with pytest.raises(
        InputError, match=r"method 'setfit': the package (setfit|datasets) is not installed; pip install"
    ):
        function_of("setfit")


def test_the_hash_follows_what_the_method_reads_and_nothing_else(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> dict[str, str]:
        return {
            name: key_of(facts_of(Cell("tiny", 5, 0, name), setup)) for name in ("fish", "lora", "frozen")
        }

    before = keys()
    other = replace(Settings(), mask=Mask(budget=0.3))
    monkeypatch.setattr(cells, "Settings", lambda: other)
    after = keys()
    assert after["fish"] != before["fish"]
    assert (after["lora"], after["frozen"]) == (before["lora"], before["frozen"])
    monkeypatch.setitem(RATES, "lora", Rates(0.1, 0.1))
    assert keys()["lora"] != before["lora"]
    assert keys()["frozen"] == before["frozen"]


def test_a_record_of_other_settings_is_not_finished(setup: Setup, tmp_path: Path) -> None:
    cell = Cell("tiny", 5, 0, "lora")
    assert finished(cell, setup, tmp_path) is None
    facts = facts_of(cell, setup)
    record = {"cell": cell.name, **facts, "key": key_of(facts)}
    append(cell.file(setup, tmp_path), record)
    assert finished(cell, setup, tmp_path) == record
    assert finished(cell, replace(setup, threads=2), tmp_path) is None


def test_facts_hold_no_path_of_the_machine(setup: Setup, tmp_path: Path) -> None:
    assert str(tmp_path.parent) not in json.dumps(facts_of(Cell("tiny", 5, 0, "tokensieve"), setup))
