from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.training import results
from benchmarks.training import run as finetune
from benchmarks.training.experiment import Cell, Setup
from benchmarks.training.measure import measure_to
from benchmarks.training.run import main, plan
from benchmarks.training.tasks import HELD_OUT

ROOT = Path(__file__).parents[3]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cells are computed in this process, and named in the list."""
    ran: list[str] = []

    def run_in_subprocess(cell: Cell, setup: Setup, path: Path) -> bool:
        measure_to(cell, setup, path)
        ran.append(str(cell))
        return True

    monkeypatch.setattr(finetune, "run_in_subprocess", run_in_subprocess)
    return ran


def arguments(setup: Setup, output: Path, **changed: str) -> list[str]:
    asked = {
        "data": str(setup.data),
        "base": setup.base,
        "tasks": "tiny",
        "shots": "2",
        "seeds": "0",
        "methods": "tfidf_svm,frozen",
    }
    asked |= {"output": str(output)} | changed
    return [word for name, value in asked.items() for word in (f"--{name}", value)]


def test_cells_are_planned_seed_by_seed() -> None:
    cells = plan(["a", "b"], [5], [0, 1], ["lora", "frozen"])
    assert [str(cell) for cell in cells[:5]] == [
        "a 5 seed 0 lora",
        "a 5 seed 0 frozen",
        "b 5 seed 0 lora",
        "b 5 seed 0 frozen",
        "a 5 seed 1 lora",
    ]


def test_finished_cells_are_not_run_again(setup: Setup, tmp_path: Path, here: list[str]) -> None:
    assert main(arguments(setup, tmp_path / "out")) == 0
    assert main(arguments(setup, tmp_path / "out", seeds="0-1")) == 0
    assert here == [f"tiny 2 seed {seed} {method}" for seed in (0, 1) for method in ("tfidf_svm", "frozen")]
    with (setup.data / "tiny" / "test.csv").open("a", encoding="utf-8") as file:
        file.write("one more refund,refund\n")
    assert main(arguments(setup, tmp_path / "out", methods="tfidf_svm")) == 0
    assert here[4:] == ["tiny 2 seed 0 tfidf_svm"]


def test_a_stop_keeps_what_is_done_and_names_what_is_not(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_in_subprocess(cell: Cell, setup: Setup, path: Path) -> bool:
        if cell.method == "frozen":
            raise KeyboardInterrupt
        measure_to(cell, setup, path)
        return True

    monkeypatch.setattr(finetune, "run_in_subprocess", run_in_subprocess)
    assert main(arguments(setup, tmp_path / "out")) == 130
    assert "not finished: tiny 2 seed 0 frozen." in capsys.readouterr().err
    assert [record["cell"] for record in results.read_all(tmp_path / "out")] == ["tiny/2-tfidf_svm-0"]


def test_a_failed_cell_does_not_end_the_others(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        finetune,
        "run_in_subprocess",
        lambda cell, setup, path: cell.method == "frozen" and measure_to(cell, setup, path) is None,
    )
    assert main(arguments(setup, tmp_path / "out")) == 1
    error = capsys.readouterr().err
    assert "tiny 2 seed 0 tfidf_svm: FAILED" in error
    assert "tiny 2 seed 0 frozen: accuracy" in error


def test_a_grid_is_tried_on_held_out_texts(
    setup: Setup, tmp_path: Path, here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(setup, tmp_path / "grid"), "--grid", "last_k"]) == 0
    records = results.read_all(tmp_path / "grid")
    assert len(here) == len(records) == 9
    assert {(record["held_out"], record["seed"]) for record in records} == {(HELD_OUT, 100)}
    scores = [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()[-9:]]
    assert scores == sorted((f"{record['accuracy']:.4f}" for record in records), reverse=True)


def test_settings_are_compared_on_held_out_texts(setup: Setup, tmp_path: Path, here: list[str]) -> None:
    assert main([*arguments(setup, tmp_path / "held"), "--held-out"]) == 0
    records = results.read_all(tmp_path / "held")
    assert records
    assert {record["held_out"] for record in records} == {HELD_OUT}
    assert main(arguments(setup, tmp_path / "held")) == 0
    assert {record["held_out"] for record in results.read_all(tmp_path / "held")} == {False}


def test_a_task_of_several_labels_is_told_by_micro_f1(
    setup: Setup, tmp_path: Path, here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(setup, tmp_path / "out", tasks="several", methods="tfidf_svm")) == 0
    (record,) = results.read_all(tmp_path / "out")
    assert f"several 2 seed 0 tfidf_svm: micro F1 {record['micro_f1']:.4f}, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shots": "0"}, "--shots contains '0'; use whole numbers from 1, or full"),
        ({"seeds": "a"}, "--seeds contains 'a'"),
        ({"methods": "lorra"}, "method 'lorra' is unknown"),
        ({"tasks": "none"}, "has no such folder; it has several, tiny"),
        ({"tasks": ","}, "--tasks is empty; name at least one"),
        ({"methods": ""}, "--methods is empty; name at least one"),
        ({"seeds": "3-1"}, "--seeds contains '3-1'"),
        ({"base": "/none"}, "--base is '/none'; use a folder, or a Hugging Face model id (owner/model)"),
        ({"methods": "tokensieve@vocabulary=5"}, "'tokensieve' does not read 'vocabulary'; it reads"),
        ({"methods": "tokensieve@vocabulary.new_tokens.x=5"}, "does not read 'vocabulary.new_tokens.x'"),
        ({"methods": "tokensieve@mask.budget=["}, "mask.budget is '[', not YAML"),
        ({"grid": "frozen"}, "--grid 'frozen': this method has no learning rates"),
    ],
)
def test_bad_input_is_one_line(
    changed: dict[str, str], message: str, setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(setup, tmp_path / "out", **changed)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_file_as_the_folder_of_results_is_refused_before_the_training(
    setup: Setup, tmp_path: Path, here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    assert main(arguments(setup, tmp_path / "out")) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'out'}: File exists; name another path\n"
    assert here == []


def test_a_cell_in_its_own_process_imports_no_orchestration(setup: Setup, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.training.run",
            *arguments(setup, tmp_path / "out", methods="tokensieve"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert list(results.read(tmp_path / "out" / "2-cpu.jsonl")) == ["tiny/2-tokensieve-0"]
    program = (
        "import sys, json, benchmarks.training.measure, benchmarks.methods.masked, benchmarks.methods.dense, "
        "benchmarks.methods.adapters\n"
        "print(json.dumps([name for name in ('prefect', 'mlflow', 'dvc', 'great_expectations', "
        "'matplotlib') if name in sys.modules]))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert json.loads(loaded) == []
