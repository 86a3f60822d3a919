from __future__ import annotations

from huggingface_hub import ModelCard

from tasks.reporting.write_card import write_card
from tokensieve.files import read_json
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.settings import Settings


def test_the_card_is_beside_the_model_and_changes_nothing_of_it(layout: Layout) -> None:
    manifest, race = Manifest.load(layout.onnx), read_json(layout.onnx / "race.json")
    settings = Settings.of({"register": {"name": "cards"}})
    write_card(layout.onnx, layout, settings, manifest, race)
    card = ModelCard.load(layout.onnx / "README.md")
    assert card.data.model_name == "cards"
    assert [(one.metric_name, one.metric_value) for one in card.data.eval_results] == [
        ("accuracy", 0.75),
        ("macro F1", 0.7),
    ]
    assert "Good enough to answer by itself." in card.text
    assert "| bill | 1 | 2 | 50.0% |" in card.text
    assert "my private words" not in card.text
    assert str(layout.root) not in card.text
    assert "secret" not in card.text
    assert Manifest.load(layout.onnx) == manifest
