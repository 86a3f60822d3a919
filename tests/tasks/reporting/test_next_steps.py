from __future__ import annotations

from pathlib import Path

from tasks.reporting.next_steps import next_steps, see_run
from tokensieve.project import Layout


def test_the_commands_work_in_any_folder_and_name_the_project(tmp_path: Path) -> None:
    root = tmp_path / "my project"
    steps = {step.name: step for step in next_steps(Layout(root), "3", promote=True, label_errors=2)}
    assert list(steps) == ["try it", "serve it", "promote it", "correct it"]
    assert steps["serve it"].value == f"tokensieve serve --model '{root}/artifacts/onnx'"
    assert steps["promote it"].value == f"tokensieve promote --project '{root}' --version 3"
    review = f"'{root}/artifacts/audit/review.csv'"
    assert steps["correct it"].value == f"tokensieve data add --project '{root}' --review {review}"
    assert steps["correct it"].note == f"fill in right_label in {review}"


def test_paths_within_the_working_directory_are_short(tmp_path: Path) -> None:
    steps = list(next_steps(Layout(tmp_path), "3", promote=True, label_errors=1, folder=tmp_path))
    assert [step.value for step in steps[1:]] == [
        "tokensieve serve --model artifacts/onnx",
        "tokensieve promote --version 3",
        "tokensieve data add --review artifacts/audit/review.csv",
    ]


def test_a_model_that_should_not_be_promoted_has_no_command_for_it(tmp_path: Path) -> None:
    steps = next_steps(Layout(tmp_path), "3", promote=False, label_errors=0)
    assert [step.name for step in steps] == ["try it", "serve it"]


def test_a_local_mlflow_database_brings_the_command_that_shows_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert see_run(layout) == ""
    layout.at("mlflow.db").touch()
    assert see_run(layout) == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db"
    assert see_run(layout, tmp_path) == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
