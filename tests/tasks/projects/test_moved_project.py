"""A project that was moved or copied finds its models and writes into itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.projects.moved_project import follow
from tokensieve.project import Layout
from tokensieve.registry.store import RegistryError


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A project `before` with a run that has a file, and a registered version of it."""
    return make(tmp_path)


def make(tmp_path: Path, folder: str = "") -> Layout:
    """Make the project. The runs are in `folder` of its folder for runs."""
    layout = Layout(tmp_path / "a project" / "before")
    layout.root.mkdir(parents=True)
    client = MlflowClient(uri(layout), uri(layout))
    experiment = client.create_experiment("mine", artifact_location=(layout.runs / folder).as_uri())
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "content", "model/file.txt")
    client.create_registered_model("classifier")
    client.create_model_version("classifier", f"{run.info.artifact_uri}/model", run.info.run_id)
    return layout


def uri(layout: Layout) -> str:
    return f"sqlite:///{layout.at('mlflow.db')}"


def places(layout: Layout) -> tuple[str, str, str]:
    """Return the locations of the experiment, the run and the version in the registry."""
    client = MlflowClient(uri(layout), uri(layout))
    (experiment,) = client.search_experiments(filter_string="name = 'mine'")
    (run,) = client.search_runs([experiment.experiment_id])
    return (
        experiment.artifact_location,
        run.info.artifact_uri,
        client.get_model_version_download_uri("classifier", "1"),
    )


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_files_are_found_in_the_new_place_of_the_project(layout: Layout, how: str, tmp_path: Path) -> None:
    now = Layout(tmp_path / "elsewhere")
    if how == "moved":
        layout.root.rename(now.root)
    else:
        shutil.copytree(layout.root, now.root)
    follow(now, uri(now))
    follow(now, uri(now))
    found = places(now)
    assert found[0] == now.runs.as_uri()
    assert all(place.startswith(f"{now.runs.as_uri()}/") for place in found[1:])
    client = MlflowClient(uri(now), uri(now))
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])  # type: ignore[union-attr]
    assert (
        Path(client.download_artifacts(run.info.run_id, "model/file.txt", str(tmp_path))).read_text()
        == "content"
    )


def test_runs_that_an_mlflow_server_has_written_are_found_too(tmp_path: Path) -> None:
    # The server of `tokensieve up` adds the number of the experiment; 0 is the default one.
    layout, now = make(tmp_path, "1"), Layout(tmp_path / "elsewhere")
    follow(layout, uri(layout))
    assert places(layout)[0] == (layout.runs / "1").as_uri()
    layout.root.rename(now.root)
    follow(now, uri(now))
    found = places(now)
    assert found[0] == (now.runs / "1").as_uri()
    assert all(place.startswith(f"{found[0]}/") for place in found[1:])


def test_a_registry_outside_the_project_is_not_changed(layout: Layout, tmp_path: Path) -> None:
    before = places(layout)
    follow(layout, uri(layout))
    other = Layout(tmp_path / "other")
    other.root.mkdir()
    follow(other, uri(layout))
    assert places(layout) == before


def test_an_experiment_of_another_project_in_this_registry_stays(layout: Layout, tmp_path: Path) -> None:
    client = MlflowClient(uri(layout), uri(layout))
    other = client.create_experiment("other", artifact_location=(tmp_path / "other" / "mlartifacts").as_uri())
    client.create_run(other)
    follow(layout, uri(layout))
    assert client.get_experiment(other).artifact_location == (tmp_path / "other" / "mlartifacts").as_uri()


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
def test_a_damaged_registry_is_named_with_what_to_do(layout: Layout, content: bytes | None) -> None:
    path = layout.at("mlflow.db")
    path.write_bytes(path.read_bytes()[:50_000] if content is None else content)
    with pytest.raises(RegistryError, match=r"mlflow.db gives no answer: .*; put a backup of the file there"):
        follow(layout, uri(layout))
