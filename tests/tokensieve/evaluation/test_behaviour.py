from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tokensieve.errors import InputError
from tokensieve.evaluation.behaviour import (
    Case,
    Cases,
    check_labels,
    perturbed,
    read_cases,
    run_cases,
    with_typo,
    without_punctuation,
)

EVERYTHING = """
min_share: {invariance: 0.5}
minimum_functionality:
  - {text: "Where is my card?", label: card}
  - {text: Hello, label: []}
invariance:
  texts: ["I lost my card."]
  perturbations: [lower_case, no_punctuation, "Hi, {}"]
direction:
  - text: I lost my {}.
    phrases: {card: card, money: money}
"""


def read(tmp_path: Path, text: str):  # type: ignore[no-untyped-def]
    path = tmp_path / "cases.yaml"
    path.write_text(text, encoding="utf-8")
    return read_cases(path)


def test_cases_file_is_read(tmp_path: Path) -> None:
    cases = read(tmp_path, EVERYTHING)
    assert cases.min_share == {"invariance": 0.5}
    assert cases.cases == [
        Case("minimum_functionality", "Where is my card?", ("card",), line=4),
        Case("minimum_functionality", "Hello", (), line=5),
        Case("invariance", "i lost my card.", None, "I lost my card.", "lower_case", 7),
        Case("invariance", "I lost my card", None, "I lost my card.", "no_punctuation", 7),
        Case("invariance", "Hi, I lost my card.", None, "I lost my card.", "Hi, {}", 7),
        Case("direction", "I lost my card.", ("card",), line=10),
        Case("direction", "I lost my money.", ("money",), line=10),
    ]


def test_outcomes_compare_with_the_label_and_with_the_unchanged_text(tmp_path: Path) -> None:
    asked: list[str] = []

    def predict(texts: Sequence[str]) -> list[tuple[str, ...]]:
        asked.extend(texts)
        return [("money",) if "money" in text or text.islower() else ("card",) for text in texts]

    outcomes = run_cases(read(tmp_path, EVERYTHING).cases, predict)
    assert [outcome.passed for outcome in outcomes] == [True, False, False, True, True, True, True]
    assert outcomes[2].expected == ("card",)
    assert outcomes[2].predicted == ("money",)
    assert len(asked) == len(set(asked)) == 7


def test_perturbations() -> None:
    assert perturbed("I lost it.", "upper_case") == "I LOST IT."
    assert perturbed("I lost it.", "{} Thanks!") == "I lost it. Thanks!"
    assert without_punctuation("Well, is it 3.5 kg? Yes!") == "Well is it 3.5 kg Yes"
    assert with_typo("my container 1234567890123") == "my conatiner 1234567890123"
    assert with_typo("a letter") == "a lteter"
    assert with_typo("größe") == "görße"
    assert with_typo("aaaa") == "aaaa"
    assert with_typo("12 34") == "12 34"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there are no cases"),
        ("[]", "must be a mapping with the keys minimum_functionality"),
        ("{", "cannot be read"),
        ("minimal: []", "has the key 'minimal'; allowed: minimum_functionality"),
        ("minimum_functionality: {}", "minimum_functionality must be a list"),
        ("minimum_functionality: [{text: a, lable: b}]", "has the key 'lable'; allowed: text, label"),
        ("minimum_functionality: [{text: '', label: b}]", "text is ''; it must be a text"),
        ("minimum_functionality: [{text: a, label: yes}]", "the label of 'a' is 'True'; it must be a label"),
        ("invariance: {texts: [a], perturbations: [typos]}", "has 'typos'; allowed: lower_case"),
        ("direction: [{text: a, phrases: {b: c, d: e}}]", "'a' has no {}"),
        ("direction: [{text: 'a {}', phrases: {b: c}}]", "two phrases or more"),
        (
            "{min_share: {direction: 2}, direction: [{text: 'a {}', phrases: {b: c, d: e}}]}",
            "allowed: 0 to 1",
        ),
    ],
)
def test_broken_cases_file_is_refused_with_its_fault(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as error:
        read(tmp_path, text)
    assert str(tmp_path / "cases.yaml") in str(error.value)


def test_missing_cases_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml cannot be read"):
        read_cases(tmp_path / "none.yaml")


def test_a_case_at_fault_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cases\.yaml, line 3: minimum_functionality: text is ''"):
        read(tmp_path, "minimum_functionality:\n- {text: a, label: b}\n- {text: '', label: b}\n")
    with pytest.raises(InputError, match=r"cases\.yaml, line 5: invariance\.texts is '7'"):
        read(tmp_path, "\ninvariance:\n  texts:\n  - a\n  - 7\n")
    with pytest.raises(InputError, match=r"cases\.yaml, line 2: direction: a case has the key 'label'"):
        read(tmp_path, "direction:\n- text: 'a {}'\n  label: b\n")


def test_label_that_the_model_does_not_have_is_refused() -> None:
    cases = Cases(Path("cases.yaml"), [Case("direction", "a", ("crad",), line=7)])
    words = "cases.yaml, line 7: direction: label 'crad' of 'a' is not one of the model's 2 labels: card"
    with pytest.raises(InputError, match=re.escape(words)):
        check_labels(cases, ["card", "money"])
