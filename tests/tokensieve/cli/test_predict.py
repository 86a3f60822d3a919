from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tokensieve.cli.main import main
from tokensieve.cli.predict import _summary
from tokensieve.inference import load
from tokensieve.inference.bulk import FileSummary, TaskCounts
from tokensieve.inference.load import PredictionsByTask
from tokensieve.inference.prediction import Prediction


class Cards:
    """Two tasks that answer what they are asked."""

    def predict_by_task(self, texts: list[str], top: int = 3) -> PredictionsByTask:
        one = [
            Prediction(((text, 0.75),), text == "b", False, ((text, 0.75), ("z", 0.25))[:top])
            for text in texts
        ]
        several = [
            Prediction((), False, True, (("x", 0.5),), True),
            Prediction((("x", 0.9), ("y", 0.8)), False, True, (("x", 0.9),), True),
        ]
        return {"cards": one, "topics": several[: len(texts)]}


def test_shared_model_prints_the_labels_of_each_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load, "load", lambda folder, threads: Cards())
    assert main(["predict", "--model", str(tmp_path), "a", "b"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "cards: a  0.750; topics: no label",
        "cards: b  0.750  (uncertain); topics: x  0.900, y  0.800",
    ]
    assert main(["predict", "--model", str(tmp_path), "--json", "--top", "1", "a"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "text": "a",
        "tasks": {
            "cards": {
                "label": "a",
                "probability": 0.75,
                "uncertain": False,
                "truncated": False,
                "top": [["a", 0.75]],
            },
            "topics": {"labels": [], "uncertain": False, "truncated": True, "top": [["x", 0.5]]},
        },
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "use texts as arguments, --input and --output, or standard input"),
        (
            ["text", "--input", "in.csv", "--output", "out.csv"],
            "use texts or --input and --output, not both",
        ),
        (["--input", "in.csv"], "--input needs --output"),
        (["text", "--output", "out.csv"], "--output needs --input"),
        (["text", "--text", "utterance"], "--text is for a file"),
        (["text", "--overwrite"], "--overwrite is for a file"),
        (["text", "--answer-prefix", "p"], "--answer-prefix is for a file"),
        (["--input", "in.csv", "--output", "out.csv", "--json"], "use an --output that ends in .jsonl"),
        (["--input", "in.csv", "--output", "out.csv"], "--model none does not exist"),
    ],
)
def test_predict_takes_texts_or_a_file(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert main(["predict", "--model", "none", *arguments]) == 2
    output = capfd.readouterr()
    assert words in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""


def tokensieve(*arguments: str, given: bytes = b"", cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, with `given` on standard input."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    command = [str(Path(sys.executable).parent / "tokensieve"), *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, cwd=cwd, env=environment, check=False, timeout=60
    )


def test_texts_come_from_standard_input(served_folder: Path, tmp_path: Path) -> None:
    given = "\ufeffmy card\r\n\nsend money to größe \n".encode() + b"caf\xe9"
    for texts in ([], ["-"]):
        done = tokensieve(
            "predict", "--model", str(served_folder), "--json", *texts, given=given, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.decode().splitlines()]
        assert [answer["text"] for answer in found] == ["my card", "", "send money to größe ", "caf\ufffd"]
    assert tokensieve("predict", "--model", str(served_folder), "-", cwd=tmp_path).returncode == 0
    done = tokensieve("predict", "--model", str(served_folder), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard input is empty; use one text per line" in done.stderr


def test_lines_are_answered_as_they_arrive(served_folder: Path, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "tokensieve"), "predict", "--model", str(served_folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdin
        assert process.stdout
        for text in (b"my card\n", b"money\n"):
            process.stdin.write(text)
            process.stdin.flush()
            assert process.stdout.readline().strip()


def test_without_a_model_the_project_s_is_used(served_folder: Path, tmp_path: Path) -> None:
    done = tokensieve("predict", "my card", cwd=tmp_path)
    assert done.returncode == 2
    assert b"is not a project. Use --model" in done.stderr
    (tmp_path / "params.yaml").write_text("", encoding="utf-8")
    done = tokensieve("predict", "my card", cwd=tmp_path)
    assert done.returncode == 2
    assert b"and no exported model. Create one with tokensieve run, or use --model" in done.stderr
    shutil.copytree(served_folder, tmp_path / "artifacts" / "onnx")
    done = tokensieve("predict", "my card", cwd=tmp_path)
    assert done.returncode == 0
    assert b"artifacts/onnx, the project's last export (no champion: " in done.stderr
    assert done.stdout == tokensieve("predict", "--model", str(served_folder), "my card", cwd=tmp_path).stdout


def test_an_output_is_replaced_only_with_overwrite_and_a_summary_is_printed(
    served_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text("text,label\nmy card,a\n" + "money " * 20 + ",b\n,c\n", encoding="utf-8")
    (tmp_path / "out.csv").write_text("precious", encoding="utf-8")
    arguments = ["predict", "--model", str(served_folder), "--input", "in.csv", "--output", "out.csv"]
    done = tokensieve(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert b"out.csv already exists; use --overwrite to replace it" in done.stderr
    done = tokensieve(*arguments, "--overwrite", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        b"has a column 'label', the name of a column of answers; rename it, "
        b"or add a prefix to the answers with --answer-prefix" in done.stderr
    )
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "precious"
    done = tokensieve(*arguments, "--overwrite", "--answer-prefix", "predicted_", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, *_, last = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert first == "text,label,predicted_label,predicted_probability,predicted_uncertain,predicted_truncated"
    assert last.startswith(",c,,")
    total, doubts, labels = done.stdout.decode().splitlines()
    assert re.fullmatch(r"out\.csv: 3 rows, 1 of them without a text, in \d+\.\d s", total)
    assert re.fullmatch(r"\d uncertain \(\d+\.\d%\), 1 truncated \(50\.0%\)", doubts)
    assert sum(int(number) for number in re.findall(r" (\d+)", labels)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_file_that_cannot_be_written_is_named(served_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\nmy card\n", encoding="utf-8")
    (tmp_path / "full").mkdir()
    limited = (
        "import resource as r, sys; from tokensieve.cli.main import main; "
        "r.setrlimit(r.RLIMIT_FSIZE, (10, 10)); sys.exit(main())"
    )
    arguments = ["predict", "--model", str(served_folder), "--input", "in.csv", "--output", "out.csv"]
    done = subprocess.run(
        [sys.executable, "-c", limited, *arguments],
        capture_output=True,
        cwd=tmp_path,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert b"File too large; free some space on its disk: the same command continues" in done.stderr
    assert tokensieve(*arguments, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("name", ["key.json", "notes.txt", "00000000.csv"])
def test_a_folder_of_the_user_is_not_emptied(name: str, served_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\nmy card\n", encoding="utf-8")
    parts = tmp_path / "out.csv.parts"
    parts.mkdir()
    (parts / name).write_text("[" * 100_000, encoding="utf-8")
    (parts / "precious").mkdir()
    done = tokensieve(
        "predict", "--model", str(served_folder), "--input", "in.csv", "--output", "out.csv", cwd=tmp_path
    )
    assert done.returncode == 2
    assert b"holds other files; move it" in done.stderr
    assert sorted(path.name for path in parts.iterdir()) == sorted([name, "precious"])


@pytest.mark.parametrize(
    ("classes", "end"), [(10, " 1"), (11, " and 1 other label"), (12, " 2 other labels")]
)
def test_the_summary_of_a_file_counts_what_it_does_not_list(classes: int, end: str) -> None:
    labels = Counter({f"l{number}": 1 for number in range(classes)})
    summary = FileSummary(1, 0, {"": TaskCounts(labels=labels)}, 0.5)
    lines = list(_summary(Path("out.csv"), summary))
    assert lines[0] == "out.csv: 1 row, in 0.5 s"
    assert lines[-1].endswith(end)
