"""Measure what a challenger costs the requests of a server, at one client.

    python -m benchmarks.serving.shadow --model DIR --challenger DIR

Two servers serve the same model, one of them with `--shadow`. They get blocks of requests in turns,
so that noise affects both equally: paced blocks, with a pause after each response, and blocks at
full speed. Before each block, the challenger finishes the texts that wait. Prints a JSON object
with p50 and p99 in milliseconds, the medians over the blocks of their ratios (with a challenger /
without), and how many texts were compared and dropped.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import reports_input_errors
from benchmarks.serving.servers import Server, ServerKind, running
from tokensieve.data.raw_data import read_examples

PAUSES = {"paced": 0.03, "full speed": 0.0}  # mean seconds after a response
SERVERS = ("without", "with")
DRAIN = 60.0  # seconds until the challenger must have finished what waits
PROGRAM = Path(sys.executable).with_name("tokensieve")
COMPARED = re.compile(r'^tokensieve_shadow_texts_total\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the result. Return status 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported model")
    parser.add_argument("--challenger", type=Path, required=True, help="folder of another exported model")
    parser.add_argument("--texts", type=Path, required=True, help="file with the columns text and label")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=300, help="per block")
    options = parser.parse_args(arguments)
    texts = read_examples(options.texts).texts
    plain = (str(PROGRAM), "serve", "--model", str(options.model.resolve()), "--port", "{port}")
    with tempfile.TemporaryDirectory() as scratch:
        report = ("--shadow-report", str(Path(scratch) / "shadow.json"))
        shadow = (
            "--shadow",
            str(options.challenger.resolve()),
            "--shadow-share",
            str(options.share),
            *report,
        )
        kinds = [
            ServerKind(name, plain + extra, "/predict", PROGRAM)
            for name, extra in zip(SERVERS, ((), shadow), strict=True)
        ]
        project, logs = Path(scratch), [Path(scratch) / f"{name}.log" for name in SERVERS]
        with (
            running(kinds[0], project, 2, texts[0], logs[0]) as one,
            running(kinds[1], project, 2, texts[0], logs[1]) as other,
        ):
            print(json.dumps(measure(one, other, texts, options.rounds, options.requests), indent=1))
    return 0


def measure(one: Server, other: Server, texts: list[str], rounds: int, requests: int) -> dict[str, Any]:
    """Return the milliseconds and ratios of each pace, and what the challenger did."""
    result: dict[str, Any] = {}
    for pace, pause in PAUSES.items():
        blocks: dict[str, list[list[float]]] = {name: [] for name in SERVERS}
        for turn in range(rounds):
            chosen = [texts[(turn * requests + i) % len(texts)] for i in range(requests)]
            order = [("without", one), ("with", other)]
            for name, server in order if turn % 2 else reversed(order):
                drained(other)
                blocks[name].append(block(server, chosen, pause))
        compared = drained(other)
        if not compared:
            raise RuntimeError("no text was compared: the challenger is the model itself, or did not load")
        result[pace] = summary(blocks) | compared
    return result


def block(server: Server, texts: list[str], pause: float) -> list[float]:
    """Return the milliseconds of one request per text, on one connection."""
    draw = np.random.default_rng(len(texts))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    found = []
    for text in texts:
        body = json.dumps({"text": text})
        began = time.perf_counter()
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        found.append((time.perf_counter() - began) * 1e3)
        if response.status != 200:
            raise RuntimeError(f"status {response.status}")
        if pause:
            time.sleep(float(draw.exponential(pause)))
    connection.close()
    return found


def summary(blocks: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Return p50 and p99 of each server over all blocks, and the medians of the blocks' ratios."""
    found: dict[str, Any] = {}
    for name, percent in (("p50", 50), ("p99", 99)):
        whole = {server: float(np.percentile(np.concatenate(blocks[server]), percent)) for server in SERVERS}
        ratios = [
            float(np.percentile(b, percent) / np.percentile(a, percent))
            for a, b in zip(blocks["without"], blocks["with"], strict=True)
        ]
        found[name] = {server: round(value, 2) for server, value in whole.items()} | {
            "ratio": round(statistics.median(ratios), 3)
        }
    return found


def drained(server: Server) -> dict[str, int]:
    """Wait until the challenger computes no more. Return the counts of its texts by outcome."""
    deadline = time.monotonic() + DRAIN
    before: dict[str, int] | None = None
    while (counts := outcomes(server)) != before and time.monotonic() < deadline:
        before = counts
        time.sleep(0.3)
    return counts


def outcomes(server: Server) -> dict[str, int]:
    """Return the number of texts that the models agreed on, differed on, failed on or dropped."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {outcome: round(float(count)) for outcome, count in COMPARED.findall(text)}


if __name__ == "__main__":
    sys.exit(main())
