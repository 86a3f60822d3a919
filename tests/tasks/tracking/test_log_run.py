from __future__ import annotations

from pathlib import Path

from tasks.tracking import log_run
from tokensieve.files import write_json
from tokensieve.project import Layout


def test_the_test_figures_are_of_the_served_build_and_pytorchs_have_names_of_their_own(
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path)
    for folder in (layout.model, layout.evaluation, layout.mask, layout.vocabulary, layout.onnx):
        folder.mkdir(parents=True)
    (layout.model / "history.jsonl").write_text('{"epoch": 1, "train_loss": 0.5}\n', encoding="utf-8")
    for folder in (layout.mask, layout.vocabulary):
        write_json(folder / "report.json", {})
    write_json(layout.evaluation / "report.json", {"test_accuracy": 0.9, "temperature": 0.7})
    write_json(layout.onnx / "manifest.json", {"parity": {"confident_agreement": 1.0}})
    row = {
        "variant": "int8",
        "milliseconds": 1.1,
        "accuracy": 0.89,
        "accuracy_drop_chance": 0.3,
        "faults": [],
    }
    write_json(
        layout.onnx / "race.json",
        {"variants": [row], "served": {"test_accuracy": 0.89, "test_accuracy_interval": [0.8, 0.95]}},
    )
    assert {(name, value) for name, value, _ in log_run.metrics(layout)} == {
        ("train_loss", 0.5),
        ("test_accuracy", 0.89),
        ("torch_test_accuracy", 0.9),
        ("temperature", 0.7),
        ("onnx_confident_agreement", 1.0),
        ("race_int8_milliseconds", 1.1),
        ("race_int8_accuracy", 0.89),
    }
