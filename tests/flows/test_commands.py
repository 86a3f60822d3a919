"""The commands of the pipeline: an input error is one line and exit status 2, and nothing is
lost.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokensieve.cli.main import main
from tokensieve.project import Layout


def write_csv(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _text_rows(count: int, classes: int = 3) -> list[tuple[str, str]]:
    return [(f"text number {i} of its kind", f"class {i % classes}") for i in range(count)]


def _bytes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _rows(rows: list[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_csv(path, rows, header)

    return write


PROGRAM = "import sys; from tokensieve.cli.main import main; sys.exit(main(sys.argv[1:]))"
GOOD = b"text,label\none,a\ntwo,a\nthree,b\nfour,b\n"

# Refused by reading the file, before Prefect is started: what is in the file, and what the message
# must name.
UNREADABLE = {
    "missing": (lambda path: None, ["bad.csv", "does not exist"]),
    "empty": (_bytes(b""), ["bad.csv", "is empty"]),
    "header only": (_bytes(b"text,label\n"), ["bad.csv", "no row"]),
    "one column": (_bytes(b"text\none\ntwo\n"), ["bad.csv", "no column 'label'", "data.label_column"]),
    "fractions as labels": (
        _bytes(b"text,label\none,0.25\ntwo,1.5\n"),
        ["bad.csv", "line 2", "0.25", "data.label_column"],
    ),
    "NUL bytes": (_bytes(GOOD + b"fi\0ve,b\n"), ["bad.csv", "line 6", "NUL"]),
    "Latin-1": (_bytes(GOOD + "caf\xe9,b\n".encode("latin-1")), ["bad.csv", "line 6", "0xe9", "UTF-8"]),
    "unclosed quote": (_bytes(GOOD + b'"five,b\nsix,b\n'), ["bad.csv", "row 5", "line 6", "never closed"]),
    "ragged row": (_bytes(GOOD + b"five,six,b\n"), ["bad.csv", "row 5", "3 columns"]),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_is_one_line_and_status_2(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write, named = UNREADABLE[name]
    write(tmp_path / "bad.csv")

    status = main(["run", "--project", str(tmp_path / "project"), "--data", str(tmp_path / "bad.csv")])

    output, errors = capfd.readouterr()
    assert status == 2
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert [part for part in named if part not in errors] == []
    assert not Layout(tmp_path / "project").raw_pointer.exists()


# Refused by the validation stage.
INVALID = {
    "one class": (_rows([(text, "a") for text, _ in _text_rows(9)]), ["class", "2"]),
    "long text": (
        _rows([*_text_rows(30), ("x" * 200_000, "class 0")]),
        ["line 32", "validate.max_characters", "20,000"],
    ),
    "many classes": (
        _rows([(f"text {i}", f"class {i}") for i in range(100_000)]),
        ["100,000", "validate.max_classes"],
    ),
    "empty text": (_rows([*_text_rows(30), ("  ", "class 0")]), ["line 32", "empty"]),
}


@pytest.mark.parametrize("name", INVALID)
def test_data_that_cannot_be_trained_on_is_refused_by_validation(
    name: str, tmp_path: Path, prefect_server: None, capfd: pytest.CaptureFixture[str]
) -> None:
    write, named = INVALID[name]
    write(tmp_path / "bad.csv")

    status = main(["run", "--project", str(tmp_path / "project"), "--data", str(tmp_path / "bad.csv")])

    errors = capfd.readouterr().err
    assert status == 2
    assert [part for part in named if part not in errors] == []
    assert not Layout(tmp_path / "project").split.exists()
    assert not (tmp_path / "project" / "mlflow.db").exists()


def test_no_stack_trace_is_shown(tmp_path: Path, prefect_server: None) -> None:
    from prefect.settings import PREFECT_API_URL

    write_csv(tmp_path / "bad.csv", [(text, "a") for text, _ in _text_rows(9)], ("text", "label"))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            "run",
            "--project",
            str(tmp_path / "project"),
            "--data",
            str(tmp_path / "bad.csv"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert [
        line for line in done.stderr.splitlines() if line.startswith("tokensieve: bad.csv, classes: 1 class")
    ]
    assert "Traceback" not in done.stderr
    assert "prefect" not in done.stderr


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("finetune.epoch=3", ["finetune.epoch", "Did you mean 'max_epochs'?"]),
        ("finetuning.epochs=3", ["finetuning", "Did you mean 'finetune'?"]),
        ("finetune.max_epochs=0", ["finetune.max_epochs", "0", "1 to 1000"]),
        ("finetune.max_epochs=many", ["finetune.max_epochs", "many", "whole number"]),
        ("mask.score=luck", ["mask.score", "luck", "construct_fisher, fisher, magnitude, random"]),
        ("epochs", ["epochs", "section.key=value"]),
    ],
)
def test_a_bad_setting_is_refused_by_name_and_not_written(
    assignment: str, named: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main(["init", str(tmp_path)])
    before = Layout(tmp_path).params.read_bytes()
    capfd.readouterr()

    status = main(["run", "--project", str(tmp_path), "--set", assignment])

    errors = capfd.readouterr().err
    assert status == 2
    assert len(errors.splitlines()) == 1
    assert [part for part in named if part not in errors] == []
    assert Layout(tmp_path).params.read_bytes() == before


def test_a_project_without_data_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--project", str(tmp_path)]) == 2
    assert "--data" in capfd.readouterr().err


def test_an_unknown_stage_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["stage", "--project", str(tmp_path), "finetuning"]) == 2
    assert "finetune" in capfd.readouterr().err


def test_debug_shows_where_a_mistake_was_found(tmp_path: Path) -> None:
    from tokensieve.errors import InputError

    with pytest.raises(InputError, match="--data"):
        main(["run", "--project", str(tmp_path), "--debug"])


def test_predict_starts_fast_for_it_imports_neither_torch_nor_the_orchestration(
    tiny_run: Callable[..., int], data_file: Path, tmp_path: Path
) -> None:
    assert tiny_run(tmp_path / "project", "--data", str(data_file)) == 0
    program = (
        "import sys; from tokensieve.cli.main import main; status = main(sys.argv[1:]); "
        "print(sorted({'torch', 'transformers', 'mlflow', 'prefect', 'dvc', 'pandas'} & set(sys.modules)), "
        "file=sys.stderr)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "predict",
            "--model",
            str(Layout(tmp_path / "project").onnx),
            "--json",
            "one text",
            "another",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == ["one text", "another"]
    assert done.stderr.strip() == "[]"


def test_a_folder_that_is_no_project_shares_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status = main(
        [
            "export-shared",
            str(tmp_path),
            str(tmp_path / "b"),
            "--output",
            str(tmp_path / "shared"),
        ]
    )
    assert status == 2
    assert "is not an exported project, nor its artifacts/model folder" in capfd.readouterr().err


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A project, mounted so that nobody can write it."""
    made, folder = tmp_path / "made", tmp_path / "mount"
    (tmp_path / "data.csv").write_bytes(GOOD)
    assert main(["init", str(made)]) == 0
    (made / ".tokensieve" / "runs").mkdir()
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "--bind", str(made), str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("mounting a folder needs root and a container that may mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_project_that_cannot_be_written_is_one_line(
    read_only: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project, data = ["--project", str(read_only)], ["--data", str(tmp_path / "data.csv")]
    capfd.readouterr()
    for command in (
        ["init", str(read_only)],
        ["init", str(read_only / "new")],
        ["run", *project, *data],
        ["data", "add", *project, *data],
        ["stage", "validate", *project],
    ):
        assert main(command) == 2, command
        errors = capfd.readouterr().err
        assert len(errors.splitlines()) == 1, errors
        assert f"; make {read_only} writable for this user, or work in a copy of it elsewhere" in errors
