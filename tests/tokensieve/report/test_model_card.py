from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from tests.tokensieve.report.whole_report import whole_report
from tokensieve.report.content import Report
from tokensieve.report.model_card import CardData, model_card

MEASURED = {"test_accuracy": 0.93123, "test_macro_f1": 0.9, "coverage": 0.8}


def card(base: str = "sentence-transformers/all-MiniLM-L6-v2", name: str = "freight") -> CardData:
    return CardData(name, base, "0123abcd.dir", MEASURED, 128)


def test_the_hub_reads_the_metadata() -> None:
    found = ModelCard(model_card(whole_report(), card()))
    assert found.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert found.data.pipeline_tag == "text-classification"
    assert found.data.model_name == "freight"
    assert [(one.metric_type, one.metric_name, one.metric_value) for one in found.data.eval_results] == [
        ("accuracy", "accuracy", 0.9312),
        ("f1", "macro F1", 0.9),
    ]
    assert found.text.lstrip().startswith("# customs hold version 3")


@pytest.mark.parametrize("base", ["/home/me/models/encoder", "encoder", "./a/b", "tiny"])
def test_a_folder_on_this_machine_is_not_named(base: str) -> None:
    text = model_card(whole_report(), card(base))
    assert "base_model" not in text
    assert base not in text.partition("\n---\n")[0]


def test_the_card_names_the_prompt_if_there_is_one() -> None:
    with_prompt = replace(card(), prompt="<query>: ")
    line = 'The model puts "&lt;query>: " in front of every text by itself: do not put it into your texts.'
    assert line in model_card(whole_report(), with_prompt).splitlines()
    assert "in front of" not in model_card(whole_report(), card())


def test_texts_of_the_data_are_not_in_the_card() -> None:
    report = Report("freight", "", False, confusions=whole_report(text="private words").confusions)
    assert "private words" not in model_card(report, card())


@pytest.mark.parametrize(
    "hostile", ["a|b", "<img src=x>", "# x", "`x`", "[x](https://x)", "---", "a: b\n---\n"]
)
def test_labels_and_names_stay_text(hostile: str) -> None:
    text = model_card(whole_report(label=hostile), card(name=hostile))
    found = ModelCard(text)
    assert found.data.model_name == hostile
    assert "<img" not in found.text
    assert "[x]" not in found.text
    assert not any(line == "---" for line in found.text.splitlines())


def test_a_card_of_a_report_with_nothing_has_the_use() -> None:
    text = model_card(Report("m", "", True), card())
    assert "prediction.labels" in text
    assert "## Classes" not in text
