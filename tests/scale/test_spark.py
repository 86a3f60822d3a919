"""Bulk scoring in a real local Spark: each row gets the answer of `tokensieve predict`."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
ROWS = 2000
KINDS = {
    "single-label": (("label", "probability"), ()),
    "multi-label": (("labels", "probabilities"), ("data.label_separator=|",)),
}


@pytest.mark.timeout(900)
@pytest.mark.skipif(
    not shutil.which("java"), reason="Java is not installed (Debian: apt-get install default-jre-headless)"
)
@pytest.mark.parametrize("kind", KINDS)
def test_spark_answers_as_predict_does(
    kind: str,
    tokensieve: Run,
    environment: dict[str, str],
    small: list[str],
    tiny_texts: tuple[list[str], list[str]],
    tmp_path: Path,
) -> None:
    (label, probability), settings = KINDS[kind]
    data, project = tmp_path / "texts.csv", tmp_path / "tickets"
    _write(data, tiny_texts, several=kind == "multi-label")
    ran = tokensieve("run", "--project", str(project), "--data", str(data), *small, *settings)
    assert ran.returncode == 0, ran.stderr
    promoted = tokensieve("promote", "--project", str(project))
    assert promoted.returncode == 0, promoted.stderr

    texts = [f"{text} {number}" for number, text in enumerate(tiny_texts[0] * (ROWS // 60))]
    rows: dict[str, list[Any]] = {"id": list(range(len(texts) + 3)), "text": [*texts, "", None, "größe 😀"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "in.parquet")
    expected = ["predict", "--input", "in.parquet", "--output", "expected.parquet", "--project", str(project)]
    assert tokensieve(*expected).returncode == 0
    variables = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{project / 'mlflow.db'}",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    job = [sys.executable, str(Path(__file__).with_name("spark_job.py")), "models:/tickets@champion"]
    done = subprocess.run(
        [*job, str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet")],
        env=environment | variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]

    answers = pd.read_parquet(tmp_path / "out.parquet").sort_values("id").set_index("id")
    reference = pd.read_parquet(tmp_path / "expected.parquet").set_index("id")
    assert len(answers) == len(rows["id"])
    with_text = reference.index[reference[label].notna()]  # not that of the empty text
    for number in with_text:
        found, known = answers.loc[number], reference.loc[number]
        assert _values(found[label]) == _values(known[label]), number
        assert _numbers(found[probability]) == pytest.approx(_numbers(known[probability]), abs=1e-6)
        assert bool(found["uncertain"]) == bool(known["uncertain"])
    assert answers["text"].isna().sum() == 1
    without = answers[answers["text"].isna()].iloc[0]
    assert bool(without["uncertain"])
    assert _values(without[label]) in ([], [""])


def _write(path: Path, tiny_texts: tuple[list[str], list[str]], several: bool) -> None:
    """Write the texts. With `several`, every fourth text has a second label."""
    names = sorted(set(tiny_texts[1]))
    rows = [
        (
            text,
            f"{label}|{names[number % 5]}"
            if several and not number % 4 and names[number % 5] != label
            else label,
        )
        for number, (text, label) in enumerate(zip(*tiny_texts, strict=True))
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def _values(found: Any) -> list[str]:
    return [found] if isinstance(found, str) else list(found)


def _numbers(found: Any) -> list[float]:
    return [float(found)] if isinstance(found, float) else list(map(float, found))
