from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tokensieve.cli.main import main
from tokensieve.data.text_hashes import NAME, save_hashes
from tokensieve.inference.predictor import Predictor

TEXTS = ["send money to my card", "my card is lost", "lost card", "send money", "to my card", "is it lost"]


@pytest.fixture
def labelled(tmp_path: Path, served_folder: Path) -> Path:
    """Six texts with the model's own labels, one of them wrong, and two with an unknown label."""
    model = Predictor.load(served_folder)
    labels = [found.label for found in model.predict(TEXTS)]
    labels[0] = next(name for name in model.manifest.labels if name != labels[0])
    path = tmp_path / "checked.csv"
    rows = [f"{text},{label}" for text, label in zip(TEXTS, labels, strict=True)]
    path.write_text("\n".join(["text,label", *rows, "my money,refund", "lost,refund"]) + "\n")
    return path


def test_the_figures_of_new_data_are_printed(
    labelled: Path, served_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--data", str(labelled), "--model", str(served_folder)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["texts", "6"]
    assert lines[1].endswith("2 texts with labels that the model does not know: refund (2)")
    assert lines[2].startswith("accuracy           0.8333 (")
    assert ["label", "texts", "precision", "recall", "F1"] in [line.split() for line in lines]


def test_other_columns_are_named_for_this_command_only(
    labelled: Path, served_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labelled.write_text(labelled.read_text().replace("text,label", "Mail,Queue"))
    command = ["evaluate", "--data", str(labelled), "--model", str(served_folder), "--project", str(tmp_path)]
    assert main(command) == 2
    assert "--set data.text_column=COLUMN data.label_column=COLUMN" in capfd.readouterr().err
    assert main([*command, "--set", "data.text_column=Mail", "data.label_column=Queue"]) == 0
    assert capfd.readouterr().out.splitlines()[0].split() == ["texts", "6"]
    assert not (tmp_path / "params.yaml").exists()
    assert main([*command, "--set", "data.txt=Mail"]) == 2
    assert "unknown setting 'data.txt'" in capfd.readouterr().err


def test_a_file_that_the_model_was_trained_on_is_warned_of(
    labelled: Path, served_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(served_folder, tmp_path / "model"))
    save_hashes(folder / NAME, TEXTS[:5])
    assert main(["evaluate", "--data", str(labelled), "--model", str(folder)]) == 0
    output, errors = capfd.readouterr()
    assert "the model was trained or validated on 5 of 8 texts" in " ".join(errors.split())
    assert output.splitlines()[1].split()[:3] == ["known", "texts", "5"]


def test_json_has_intervals_labels_and_texts_out_of_scope(
    labelled: Path, served_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "oos.csv").write_text("text\nweather tomorrow\nmy card is lost\n")
    command = ["evaluate", "--data", str(labelled), "--oos", str(tmp_path / "oos.csv"), "--json"]
    assert main([*command, "--model", str(served_folder)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["test_accuracy"] == pytest.approx(5 / 6)
    for key in ("test_accuracy", "test_macro_f1", "test_ece"):
        low, high = found[f"{key}_interval"]
        assert low <= found[key] <= high
    assert (found["texts"], found["left_out"], found["unknown_labels"]) == (6, 2, {"refund": 2})
    assert found["oos_texts"] == 2
    assert 0 <= found["oos_recall"] <= 1
    assert sum(row["support"] for row in found["per_class"].values()) == 6


def test_data_without_a_known_label_or_with_a_missing_one_are_refused(
    served_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.csv"
    command = ["evaluate", "--data", str(path), "--model", str(served_folder)]
    path.write_text("text,label\nmy card,refund\n")
    assert main(command) == 2
    assert "no text has labels that the model knows; labels of the data: 'refund'" in capfd.readouterr().err
    path.write_text("text,label\nmy card,transfer\nlost,\n")
    assert main(command) == 2
    assert f"{path}, line 3: the model gives one label per text" in capfd.readouterr().err
