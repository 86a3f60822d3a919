from __future__ import annotations

from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from tasks.promotion import prune as pruning
from tasks.promotion.checks import PROJECT
from tasks.promotion.promote import promote, rollback
from tasks.promotion.prune import find_prunable, prune
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.registry.project_identity import given_identity
from tokensieve.settings import Settings

SETTINGS = Settings.of({"register": {"experiment": "training"}})


@pytest.fixture
def own(layout: Layout) -> str:
    """The id of the project, and a cache of 2,000 bytes."""
    layout.parsed.mkdir(parents=True)
    (layout.parsed / "texts").write_bytes(b"x" * 2000)
    return given_identity(layout, SETTINGS).project


def names(found: list[pruning.Prunable], kind: str) -> list[str]:
    return [one.name for one in found if one.kind == kind]


def versions(client: MlflowClient) -> list[str]:
    return sorted(str(found.version) for found in client.search_model_versions("name = 'tickets'"))


def test_what_an_alias_the_record_or_the_last_ones_need_stays(
    layout: Layout, client: MlflowClient, register: Callable[..., None], own: str
) -> None:
    register(2, {PROJECT: own})
    register(1, {PROJECT: "mails-0000abcd"})
    register(5, {PROJECT: own})
    promote(layout, SETTINGS, "2")
    promote(layout, SETTINGS, "5")
    rollback(layout, SETTINGS)
    client.set_registered_model_alias("tickets", "pinned", "4")
    runs = {number: client.get_model_version("tickets", number).run_id for number in "1267"}
    # An MLflow server adds the number of the experiment.
    folders = {number: layout.runs / ("1" if number == "7" else "") / run for number, run in runs.items()}
    for folder in folders.values():
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"x" * 1000)

    found = find_prunable(layout, SETTINGS, keep=1)
    # 2 and 5 are in the record, 3 is another project's, 4 has an alias, 8 is the newest.
    assert names(found, "version") == ["1", "6", "7"]
    assert [one.bytes for one in found] == [2000, 1000, 1000, 1000]
    assert names(find_prunable(layout, SETTINGS, keep=2), "version") == ["1", "6"]
    assert names(find_prunable(layout, SETTINGS), "version") == []
    assert versions(client) == list("12345678")
    with pytest.raises(InputError, match="--keep is 0; allowed: 1 or more"):
        find_prunable(layout, SETTINGS, keep=0)

    client.set_registered_model_alias("tickets", "late", "6")  # after it was found
    deleted = prune(layout, SETTINGS, found)
    assert names(deleted, "version") == ["1", "7"]
    assert versions(client) == list("234568")
    assert not layout.parsed.exists()
    assert [folder.exists() for folder in folders.values()] == [False, True, True, False]
    assert client.get_run(runs["1"]).info.lifecycle_stage == "deleted"
    assert client.get_run(runs["6"]).info.lifecycle_stage == "active"
    promote(layout, SETTINGS, "5", "it was the data")
    assert rollback(layout, SETTINGS)["version"] == "2"
    client.delete_registered_model_alias("tickets", "late")
    assert names(find_prunable(layout, SETTINGS, keep=1), "version") == ["6"]


def test_a_run_of_two_versions_stays_with_the_one_that_is_needed(
    layout: Layout, client: MlflowClient, register: Callable[..., None], own: str
) -> None:
    register(1, {PROJECT: own})
    first = client.get_model_version("tickets", "1")
    client.create_model_version("tickets", first.source, first.run_id, {PROJECT: own})
    promote(layout, SETTINGS, "2")
    client.delete_registered_model_alias("tickets", "challenger")
    (found,) = [one for one in find_prunable(layout, SETTINGS, keep=1) if one.kind == "version"]
    assert (found.name, found.run) == ("1", "")
    prune(layout, SETTINGS, [found])
    assert client.get_run(first.run_id).info.lifecycle_stage == "active"
    assert versions(client) == ["2"]


def test_runs_without_a_version_go_after_a_day(
    layout: Layout,
    client: MlflowClient,
    register: Callable[..., None],
    own: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(1, {PROJECT: own})
    experiment = client.create_experiment("training")
    old = client.create_run(experiment, 1_000_000, {PROJECT: own}).info.run_id
    client.create_run(experiment, None, {PROJECT: own})
    client.create_run(experiment, 1_000_000, {PROJECT: "mails-0000abcd"})
    found = find_prunable(layout, SETTINGS)
    assert names(found, "run") == [old]
    assert names(prune(layout, SETTINGS, found), "run") == [old]
    assert names(find_prunable(layout, SETTINGS), "run") == []


def test_nothing_is_pruned_by_a_broken_record(
    layout: Layout, client: MlflowClient, register: Callable[..., None], own: str
) -> None:
    register(2, {PROJECT: own})
    promote(layout, SETTINGS, "1")
    experiment = client.get_experiment_by_name("tokensieve record of tickets")
    assert experiment
    (run,) = [run for run in client.search_runs([experiment.experiment_id]) if "next" not in run.data.params]
    client.set_tag(run.info.run_id, "tokensieve.entry.00", "{}")
    with pytest.raises(InputError, match="is broken, so nothing is pruned: entry 1 was changed"):
        find_prunable(layout, SETTINGS, keep=1)


def test_a_project_that_never_ran_has_only_caches(layout: Layout) -> None:
    layout.prefix.mkdir(parents=True)
    (layout.prefix / "states").write_bytes(b"x")
    found = find_prunable(layout, SETTINGS)
    assert [(one.kind, one.name) for one in found] == [("cache", ".tokensieve/prefix")]
    prune(layout, SETTINGS, found)
    assert not layout.prefix.exists()
