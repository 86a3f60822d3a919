from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.cli.main import main
from tokensieve.inference.predictor import Predictor

TEXT = "send money to my card"


@pytest.fixture
def cases(tmp_path: Path, served_folder: Path) -> Path:
    """A cases file in which one of two sentences has the model's label."""
    label = Predictor.load(served_folder).predict([TEXT])[0].label
    other = next(name for name in ("card_lost", "transfer") if name != label)
    path = tmp_path / "cases.yaml"
    path.write_text(
        "invariance: {texts: [my card is lost], perturbations: ['{} my']}\n"
        f"minimum_functionality: [{{text: {TEXT}, label: {label}}}, {{text: {TEXT}, label: {other}}}]\n",
        encoding="utf-8",
    )
    return path


def test_too_few_passed_cases_exit_with_1(
    cases: Path, served_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--cases", str(cases), "--model", str(served_folder)]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith(f"failed  minimum_functionality: '{TEXT}': expected ")
    assert "minimum_functionality      2      1   50.0%  100.0%" in lines
    assert lines[-1] == "too few cases passed: minimum_functionality"


def test_the_wanted_share_is_that_of_the_file(
    cases: Path, served_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shares = "min_share: {minimum_functionality: 0.5, invariance: 0}\n"
    cases.write_text(cases.read_text(encoding="utf-8") + shares, encoding="utf-8")
    assert main(["check", "--cases", str(cases), "--model", str(served_folder)]) == 0
    assert "minimum_functionality      2      1   50.0%   50.0%" in capfd.readouterr().out.splitlines()


def test_label_of_another_model_is_refused(
    cases: Path, served_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cases.write_text("minimum_functionality: [{text: a, label: unknown}]\n", encoding="utf-8")
    assert main(["check", "--cases", str(cases), "--model", str(served_folder)]) == 2
    assert "label 'unknown' of 'a' is not one of the model's 3 labels" in capfd.readouterr().err
