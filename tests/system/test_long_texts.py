"""Tickets of 500 words, some without a category, as a user runs, predicts and serves them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import BIN, free_port

WORDS = [
    "hello",
    "I",
    "write",
    "to",
    "you",
    "because",
    "of",
    "something",
    "that",
    "has",
    "been",
    "on",
    "my",
    "mind",
    "for",
    "a",
    "while",
    "and",
    "nobody",
    "could",
    "help",
    "so",
    "far",
]


@pytest.fixture
def tickets(tmp_path: Path, tiny_texts: tuple[list[str], list[str]]) -> Path:
    """Tickets whose last words alone tell their category, and seven without one."""
    path = tmp_path / "tickets.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i, (text, label) in enumerate(zip(*tiny_texts, strict=True)):
            writer.writerow([ticket(i, text), label])
        writer.writerows([ticket(i, "thank you"), " " if i % 2 else ""] for i in range(7))
    return path


def ticket(number: int, end: str) -> str:
    words = [WORDS[(number + i) % len(WORDS)] for i in range(500)]
    return f"{' '.join(words)} {end}"


@pytest.mark.timeout(600)
def test_long_tickets_are_told_read_at_both_ends_and_served_as_trained(
    tokensieve: Callable[..., object],
    start: Callable[..., object],
    small: list[str],
    tickets: Path,
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    run = ["run", "--project", str(project), "--data", str(tickets), "--json", *small, "data.unlabelled=drop"]

    refused = tokensieve(*run, "base.max_length=65")
    assert refused.returncode == 2, refused.stderr
    assert "base.max_length is 65; allowed for base.model" in refused.stderr
    assert "4 to 64, its number of positions" in refused.stderr

    done = tokensieve(*run, "base.truncation=head_tail", "base.max_length=32")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["unlabelled"] == 7
    assert sum(summary["rows"].values()) == 60
    assert (summary["truncated"]["share"], summary["truncated"]["texts"]) == (1.0, 60)
    assert any(
        "100.0% of the texts (60 of 60) have more than 32 tokens" in warning
        for warning in summary["warnings"]
    )
    assert any("7 rows without a label dropped" in note for note in summary["notes"])

    # The end of the text decides, and all ways to predict give the same label.
    model = project / "artifacts" / "onnx"
    ends = ["please block the lost card", "where is my parcel now"]
    texts = [ticket(3, end) for end in ends]
    program = (
        "import sys, json; from pathlib import Path; from tokensieve.inference.predictor import Predictor; "
    )
    program += (
        "print(json.dumps([a.columns() for a in Predictor.load(Path(sys.argv[1]), 1).predict(sys.argv[2:])]))"
    )
    port = free_port()
    served = ["serve", "--model", str(model), "--port", str(port), "--host", "127.0.0.1"]
    start("serve", str(BIN / "tokensieve"), *served, url=f"http://127.0.0.1:{port}/ready")
    expected = json.loads(output_of(program, model, texts))
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict",
        json.dumps({"texts": texts}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        answered = json.load(response)
    assert [answer["truncated"] for answer in expected] == [True, True]
    assert expected[0]["probability"] != expected[1]["probability"]
    predictions = answered["predictions"]
    assert [(p["label"], p["truncated"]) for p in predictions] == [(e["label"], True) for e in expected]
    assert [p["probability"] for p in predictions] == pytest.approx(
        [e["probability"] for e in expected], abs=1e-6
    )


def output_of(program: str, model: Path, texts: list[str]) -> str:
    """Return what a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(model), *texts],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout
