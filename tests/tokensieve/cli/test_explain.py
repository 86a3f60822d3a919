from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokensieve.cli.main import main
from tokensieve.data.examples import Examples
from tokensieve.inference.explain import explain
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.inference.predictor import Predictor
from tokensieve.project import Layout
from tokensieve.settings import render

TEXT = "my card is lost"


def test_the_words_of_a_text_are_printed_by_their_effect(
    served_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--model", str(served_folder), TEXT]) == 0
    lines = capfd.readouterr().out.splitlines()
    found = explain(Predictor.load(served_folder), TEXT)[SINGLE_TASK]
    assert lines[0] == TEXT
    assert lines[1].split() == [found.label, f"{found.probability:.3f}"]
    assert lines[2].split() == ["effect", "without", "words"]
    assert [line.split()[2] for line in lines[3:7]] == [effect.text for effect in found.ranked()]
    assert [line.split()[0] for line in lines[3:7]] == [f"{e.effect:+.2f}" for e in found.ranked()]
    assert lines[7].startswith("  5 predictions in ")


def test_json_has_all_effects(served_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--model", str(served_folder), "--json", "--label", "other", TEXT, "card"]) == 0
    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert (first["text"], first["label"], second["text"]) == (TEXT, "other", "card")
    assert [word["text"] for word in first["words"]] == TEXT.split()
    assert first["words"][1]["spans"] == [[3, 7]]
    assert first["milliseconds"] > 0


def test_lines_of_standard_input_are_explained_without_pytorch(served_folder: Path) -> None:
    code = (
        "import sys; from tokensieve.cli.main import main; "
        f"status = main(['explain', '--json', '--model', {str(served_folder)!r}]); "
        "assert not {'torch', 'transformers', 'pandas', 'sklearn', 'scipy'} & set(sys.modules); "
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, input=b"card\nmy card", capture_output=True, check=True)
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["card", "my card"]


def test_an_unknown_label_is_an_error(
    served_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--model", str(served_folder), "--label", "refund", TEXT]) == 2
    assert "no label 'refund'" in capfd.readouterr().err
    assert main(["explain", "--label", "refund", "--project", str(tmp_path)]) == 2
    assert "is not a project" in capfd.readouterr().err


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with held-out texts and constructs."""
    layout = Layout(tmp_path)
    layout.params.write_text(render(), encoding="utf-8")
    layout.split.mkdir(parents=True)
    layout.vocabulary.mkdir(parents=True)
    texts = [TEXT, "lost card", "send money to my card", "is my money lost", "my lost card"]
    Examples.of(texts, ["other"] * 5).save(layout.split / "test.jsonl")
    constructs = [{"text": "lost card", "label": "card_lost", "information": 0.5, "weight": 0.5, "texts": 9}]
    (layout.vocabulary / "constructs.json").write_text(json.dumps(constructs), encoding="utf-8")
    return tmp_path


def test_the_words_that_a_label_relies_on_are_printed(
    project: Path, served_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    label = Predictor.load(served_folder).predict(["lost card"])[0].label
    command = ["explain", "--label", label, "--model", str(served_folder), "--project", str(project)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["label"] == label
    words = {word["text"]: word for word in found["words"]}
    assert words["lost card"]["information"] == 0.5
    assert words["lost"]["information"] is None
    assert main(command) == 0
    title, header, *lines = capfd.readouterr().out.splitlines()
    assert title.startswith(f"{label}: {found['texts']} held-out texts with this prediction, in ")
    assert header.split() == ["mean", "effect", "effect", "texts", "information", "indicates", "words"]
    assert [line.split(maxsplit=5)[5] for line in lines] == [word["text"] for word in found["words"]]
    assert main([*command[:2], "refund", *command[3:]]) == 2
    assert "--label refund: the model does not know this label" in capfd.readouterr().err


def test_phrases_of_the_project_are_removed_as_a_whole(
    project: Path, served_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["explain", "--model", str(served_folder), "--project", str(project), "--json"]
    assert main([*command, "my lost card"]) == 0
    assert [found["text"] for found in json.loads(capfd.readouterr().out)["phrases"]] == ["lost card"]
    assert main([*command[:3], "--project", os.devnull, "--json", "my lost card"]) == 0
    assert json.loads(capfd.readouterr().out)["phrases"] == []
