from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.run_page import summary_markdown
from tokensieve.project import Layout

RESULT: dict[str, Any] = {
    "model_name": "claims_v2",
    "model_version": "3",
    "test_accuracy": 0.9312,
    "test_ece": 0.031,
    "test_ece_before": 0.05,
    "accepted_accuracy": None,
    "oos_recall": None,
    "trained_parameters": 1234,
    "total_parameters": 56789,
    "rows": {"train": 1200, "validation": 100, "test": 100},
    "tokens_saved": 0,
    "parity": {"agreement": 0.99, "texts": 100},
    "seconds": {"finetune": 1.5},
    "skipped": [],
    "data_hash": "abc",
    "warnings": ["train.csv, few: class 'a|b' <img src=x> has 3 rows\nof text"],
    "race": [
        {
            "variant": "fused",
            "milliseconds": 1.5,
            "megabytes": 90.0,
            "agreement": 1.0,
            "confident_agreement": 0.99,
            "accuracy": 0.9,
            "largest_difference": 0.001,
            "faults": [],
        }
    ],
    "variant": "fused",
}


def test_the_page_names_figures_warnings_and_places() -> None:
    layout = Layout(Path("/project"))
    page = "https://mlflow.example/base/#/experiments/1/runs/0?workflowType=machine_learning"
    text = summary_markdown(RESULT | {"run_page": page}, layout, "https://mlflow.example/base/")

    assert text.startswith("# claims\\_v2 version 3\n")
    assert "\n| test accuracy | 0.9312 |\n" in text
    assert "\n| texts | train 1,200, validation 100, test 100 |\n" in text
    assert "\n- train.csv, few: class 'a\\|b' &lt;img src=x> has 3 rows of text\n" in text
    assert "\n| fused | 1.50 | 90.0 | 100.00% | 99.00% | 0.9000 | 0.001 | served |\n" in text
    assert "(https://mlflow.example/base/#/models/claims_v2/versions/3)" in text
    assert f"[the run in MLflow]({page})" in text
    assert "`/project/artifacts/onnx`" in text
    assert "`tokensieve promote --project /project --version 3`" in text


def test_a_database_has_no_page_to_link_to() -> None:
    assert "](" not in summary_markdown(
        RESULT | {"warnings": []}, Layout(Path("/project")), "sqlite:////project/mlflow.db"
    )


def test_the_verdict_is_below_the_title() -> None:
    judged = RESULT | {"verdict": {"sentence": "good enough for *all*: promote it."}}
    text = summary_markdown(judged, Layout(Path("/project")), "sqlite:////project/mlflow.db")
    assert text.startswith(
        "# claims\\_v2 version 3\n\nGood enough for \\*all\\*: promote it.\n\n## Figures\n\n|"
    )
