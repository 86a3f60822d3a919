"""The summary's figures are those of the model that is served, on few texts and with the settings
of an earlier version.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.timeout(600)
def test_the_headline_is_what_the_served_model_answers(
    tokensieve: Run, small: list[str], data_file: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    done = tokensieve(
        "run",
        "--json",
        "--project",
        project,
        "--data",
        data_file,
        *small,
        "export.variants=[fp32,fused,int8]",
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    # So few texts prove nothing of int8, however fast it is.
    assert result["variant"] in ("fp32", "fused")
    assert result["calibration_texts"] > result["rows"]["validation"]

    test = project / "artifacts" / "split" / "test.jsonl"
    answers, model = tmp_path / "answers.jsonl", project / "artifacts" / "onnx"
    labelled = tokensieve(
        "predict", "--model", model, "--input", test, "--output", answers, "--answer-prefix", "our_"
    )
    assert labelled.returncode == 0, labelled.stderr
    given = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    wanted = [json.loads(line)["label"] for line in test.read_text(encoding="utf-8").splitlines()]
    found = [row["our_label"] for row in given]
    right = [label == true for label, true in zip(found, wanted, strict=True)]
    assert sum(right) / len(right) == pytest.approx(result["test_accuracy"])
    assert sum(not row["our_uncertain"] for row in given) / len(given) == pytest.approx(result["coverage"])

    params = project / "params.yaml"
    written = params.read_text(encoding="utf-8")
    gates = re.search(r"  min_confident_agreement: .*?(?=\nregister)", written, re.DOTALL)
    assert gates
    params.write_text(written.replace(gates.group(), "  agreement: 0.98\n  loss: 0.003\n"), encoding="utf-8")
    again = tokensieve("run", "--project", project)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("params.yaml: export.agreement is now export.min_confident_agreement") == 1
    assert "test accuracy" in again.stdout
