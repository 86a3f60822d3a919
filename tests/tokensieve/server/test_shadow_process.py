"""Test a server with a challenger as a process, with traffic."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tokensieve.inference.predictor import Predictor
from tokensieve.inference.shadow_report import ShadowReport
from tokensieve.server.model_watcher import FolderSource

TEXTS = ["I lost my card", "what is my balance", "my card is stolen", "send money please"]
QUICK = ("--poll-interval", "0.05", "--shadow-share", "1")
BROKEN_ROWS = 8  # of the embedding: longer words fail, the probe's tokens do not
LOOPS = 20_000
PATIENCE = 120.0  # seconds; on a busy machine the challenger, of the lowest priority, waits long


def report_at(path: Path, done: Callable[[ShadowReport], bool]) -> ShadowReport:
    """Return the report once it is as wanted."""
    deadline = time.monotonic() + PATIENCE
    while (report := ShadowReport.load(path)) is None or not done(report):
        assert time.monotonic() < deadline, report
        time.sleep(0.05)
    return report


def ask(server: Any, texts: list[str]) -> list[tuple[int, Any]]:
    """Send one request per text, on one connection."""
    with closing(server.connection()) as connection:
        return [server.predict({"text": text}, connection) for text in texts]


def assert_unchanged(answers: list[tuple[int, Any]], folder: Path, texts: list[str]) -> None:
    """Check that each answer is the one of the served model."""
    expected = Predictor.load(folder, threads=1).predict(texts)
    assert [status for status, _ in answers] == [200] * len(texts)
    assert [(answer["label"], answer["probability"]) for _, answer in answers] == [
        (one.label, pytest.approx(one.probability)) for one in expected
    ]


def with_graph(served: Any, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """Write the served model with another graph."""
    served.write(folder)
    graph = onnx.load(folder / "model.onnx")
    change(graph)
    onnx.save(graph, folder / "model.onnx")
    served.manifest.save(folder)
    return folder


def slow(graph: onnx.ModelProto) -> None:
    """Let the graph add zero to its logits many times."""
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    count = numpy_helper.from_array(np.array(LOOPS), "count")
    graph.graph.initializer.extend([zero, count])
    kinds = {"again": TensorProto.BOOL, "sum": TensorProto.FLOAT}
    body = helper.make_graph(
        [
            helper.make_node("Add", ["before", "zero"], ["sum"]),
            helper.make_node("Identity", ["go"], ["again"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
    )
    (last,) = [node for node in graph.graph.node if "logits" in node.output]
    last.output[0] = "quick"
    graph.graph.node.append(helper.make_node("Loop", ["count", "", "quick"], ["logits"], body=body))


def test_it_compares_on_traffic_and_continues_after_a_restart(
    served: Any, tmp_path: Path, start: Callable[..., Any]
) -> None:
    other = replace(served, weight=-served.weight).write(tmp_path / "challenger")
    path = tmp_path / "shadow.json"
    server = start(served.folder, *QUICK, "--shadow", str(other), "--shadow-report", str(path))
    wait_for_challenger(server, FolderSource(other).version())
    assert_unchanged(ask(server, TEXTS), served.folder, TEXTS)
    assert server.stop() == 0
    found = ShadowReport.load(path)
    assert found is not None
    ours, theirs = (Predictor.load(folder, threads=1).predict(TEXTS) for folder in (served.folder, other))
    agreed = sum(one.label == two.label for one, two in zip(ours, theirs, strict=True))
    assert (found.total.texts + found.dropped, found.failed) == (4, 0)
    again = start(served.folder, *QUICK, "--shadow", str(other), "--shadow-report", str(path))
    wait_for_challenger(again, FolderSource(other).version())
    ask(again, TEXTS)
    report_at(path, lambda report: report.total.texts > found.total.texts)
    assert agreed < 4


def test_a_challenger_that_raises_changes_no_answer(
    served: Any, tmp_path: Path, start: Callable[..., Any]
) -> None:
    def narrow(graph: onnx.ModelProto) -> None:
        """Let the graph fail for tokens that the probe does not have."""
        rows = numpy_helper.to_array(graph.graph.initializer[0])
        used = max(
            max(text.ids) for text in Predictor.load(served.folder, 1).tokenize(["Is this model whole?"])
        )
        graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(rows[: used + 1], "embedding"))

    broken = with_graph(served, tmp_path / "broken", narrow)
    texts = ["zzz 999"] * 3
    path = tmp_path / "shadow.json"
    server = start(served.folder, *QUICK, "--shadow", str(broken), "--shadow-report", str(path))
    wait_for_challenger(server, FolderSource(broken).version())
    assert_unchanged(ask(server, texts), served.folder, texts)
    report = report_at(path, lambda report: report.failed == 3)
    assert report.total.texts == 0
    assert server.log_text().count("fails on texts") == 1
    assert "zzz" not in server.log_text()


def test_a_slow_challenger_delays_no_answer(served: Any, tmp_path: Path, start: Callable[..., Any]) -> None:
    crawling = with_graph(served, tmp_path / "slow", slow)
    path = tmp_path / "shadow.json"
    server = start(served.folder, *QUICK, "--shadow", str(crawling), "--shadow-report", str(path))
    wait_for_challenger(server, FolderSource(crawling).version())
    texts = TEXTS * 100
    assert_unchanged(ask(server, texts), served.folder, texts)
    # The file may be of a moment in which not all texts had arrived.
    report_at(path, lambda report: report.dropped >= max(1, 400 - 256 - report.total.texts - 10))
    report = report_at(path, lambda report: report.total.texts > 0)
    assert report.total.challenger_ms > 4 * report.total.champion_ms
    assert report.total.agreement == 1.0


def test_another_challenger_takes_over_during_traffic(
    served: Any, tmp_path: Path, start: Callable[..., Any]
) -> None:
    live = served.write(tmp_path / "live")
    made = replace(served, weight=-served.weight).write(tmp_path / "made")
    path = tmp_path / "shadow.json"
    server = start(served.folder, *QUICK, "--shadow", str(live), "--shadow-report", str(path))
    first = FolderSource(live).version()
    wait_for_challenger(server, first)
    answers = ask(server, TEXTS)
    shutil.move(live, tmp_path / "old")
    made.rename(live)
    second = FolderSource(live).version()
    assert second != first
    deadline = time.monotonic() + PATIENCE
    while f'version="{second}"' not in metrics(server):
        answers += ask(server, TEXTS)
        assert time.monotonic() < deadline, metrics(server)
    answers += ask(server, TEXTS)
    assert_unchanged(answers, served.folder, TEXTS * (len(answers) // 4))
    report = report_at(path, lambda report: report.challenger.version == second)
    assert 0 < report.total.texts <= 256 + 4
    assert report.total.agreed < report.total.texts


def test_the_server_starts_without_a_challenger(
    served: Any, tmp_path: Path, start: Callable[..., Any]
) -> None:
    empty = tmp_path / "later"
    empty.mkdir()
    path = tmp_path / "shadow.json"
    server = start(served.folder, *QUICK, "--shadow", str(empty), "--shadow-report", str(path))
    assert_unchanged(ask(server, TEXTS), served.folder, TEXTS)
    wait_for_metric(server, "tokensieve_shadow_trouble 1.0")
    empty.rmdir()
    replace(served, weight=-served.weight).write(tmp_path / "made").rename(empty)
    wait_for_challenger(server, FolderSource(empty).version())
    wait_for_metric(server, "tokensieve_shadow_trouble 0.0")


def wait_for_metric(server: Any, line: str) -> None:
    """Wait until the server has a metric: the challenger is loaded beside the answers."""
    deadline = time.monotonic() + PATIENCE
    while line not in metrics(server):
        assert time.monotonic() < deadline, line
        time.sleep(0.1)


def metrics(server: Any) -> str:
    with closing(server.connection()) as connection:
        connection.request("GET", "/metrics")
        return str(connection.getresponse().read().decode())


def wait_for_challenger(server: Any, version: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while f'tokensieve_shadow_model{{version="{version}"}} 1.0' not in metrics(server):
        assert time.monotonic() < deadline, server.log_text()
        time.sleep(0.05)
