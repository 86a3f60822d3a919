from __future__ import annotations

from pathlib import Path

import pytest

from tasks import plan
from tasks.plan import Plan, make_plan
from tokensieve.files import write_json
from tokensieve.project import Layout

STAGES = ("split", "mask", "finetune")


def planned(layout: Layout, monkeypatch: pytest.MonkeyPatch, stale: set[str], force: bool = False) -> Plan:
    monkeypatch.setattr(plan, "stale_stages", lambda *_: stale)
    return make_plan(layout, STAGES, force)


def test_a_plan_names_stages_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    layout.seconds.parent.mkdir(parents=True)
    write_json(layout.seconds, {"split": 1.0, "mask": 30.0, "finetune": 50.0, "gate": 3.0})
    found = planned(layout, monkeypatch, {"finetune", "mask"})
    assert str(found) == "runs mask, finetune; unchanged split; about 83 s, as last time"
    write_json(layout.seconds, {"split": 1.0, "mask": 30.0, "finetune": 800.0})
    assert (
        str(planned(layout, monkeypatch, set(), force=True))
        == "runs split, mask, finetune; about 14 min, as last time"
    )


def test_a_first_run_has_no_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = planned(Layout(tmp_path), monkeypatch, set(STAGES))
    assert str(found) == "runs split, mask, finetune; first time, so no estimate"


def test_a_plan_without_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(planned(Layout(tmp_path), monkeypatch, set())) == "every stage is unchanged"
