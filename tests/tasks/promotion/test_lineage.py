from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from flows.lineage_text import lineage_text
from tasks.promotion.lineage import lineage
from tasks.promotion.promote import promote
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings

SETTINGS = Settings()
HASHES = ("aaaa0000bbbb1111cccc2222dddd3333.dir", "aaaa0000ffff1111cccc2222dddd3333.dir")


@pytest.fixture
def registered(layout: Layout, client: MlflowClient, register: Callable[..., None]) -> MlflowClient:
    """Two versions of different data. The first has all that a retrain logs."""
    register(1, {"data_hash": HASHES[0]}, test_accuracy=0.75)
    register(1, {"data_hash": HASHES[1]})
    run = client.get_model_version("tickets", "1").run_id
    for key, value in (("mlflow.source.git.commit", "4f1c0de"), ("tokensieve.lock_hash", "ab" * 32)):
        client.set_tag(run, key, value)
    for key, value in (("base.model", "tiny"), ("environment.torch", "2.9.1")):
        client.log_param(run, key, value)
    known = {
        "data_hash": HASHES[0],
        "date": "2026-01-01T00:00:00+00:00",
        "source": "a.csv",
        "rows": {"train": 9},
    }
    layout.versions.parent.mkdir()
    layout.versions.write_text(json.dumps(known) + "\n", encoding="utf-8")
    promote(layout, SETTINGS, "1", "the first")
    promote(layout, SETTINGS, "2")
    return client


@pytest.mark.parametrize("wanted", ["1", "tickets/1", "models:/tickets/1", HASHES[0], HASHES[0][:12]])
def test_a_version_leads_to_run_commit_settings_packages_data_and_promotions(
    layout: Layout, registered: MlflowClient, wanted: str
) -> None:
    found = lineage(layout, SETTINGS, wanted)
    assert (found.version.version, found.version.aliases) == ("1", ("previous",))
    assert found.version.run == registered.get_model_version("tickets", "1").run_id
    assert (found.commit, found.lock_hash) == ("4f1c0de", "ab" * 32)
    assert (found.data_rows, found.data_source) == ({"train": 9}, "a.csv")
    assert (found.settings, found.packages) == ({"base.model": "tiny"}, {"torch": "2.9.1"})
    assert [move.split()[1] for move in found.moves] == ["promote", "promote"]
    assert found.moves[0].endswith(": the first")
    text = lineage_text(found)
    assert all(part in text for part in ("4f1c0de", "torch 2.9.1", "base.model: tiny", "train 9"))


def test_what_the_registry_does_not_have_is_left_out(layout: Layout, registered: MlflowClient) -> None:
    found = lineage(layout, SETTINGS, "2")
    assert (found.commit, found.lock_hash, found.settings, found.data_rows) == ("", "", {}, {})
    assert "git commit" not in lineage_text(found)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("3", "model 'tickets' has no version '3'; versions: 1, 2"),
        ("aaaa0000", "begins with 'aaaa0000': 1, 2; give the number"),
        ("ffff0000", "begins with 'ffff0000': none; versions: 1, 2"),
        ("other/1", "no model 'other' in the registry; models: tickets"),
        ("seven", "version is 'seven'; allowed: digits"),
    ],
)
def test_a_version_that_does_not_exist_is_named_with_those_that_do(
    layout: Layout, registered: MlflowClient, wanted: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        lineage(layout, SETTINGS, wanted)
