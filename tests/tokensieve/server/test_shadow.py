"""Test the comparison with a challenger: what is counted, and that no request is affected."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tokensieve.errors import InputError
from tokensieve.inference.shadow_report import ShadowReport
from tokensieve.server import shadow as shadow_module
from tokensieve.server.config import ShadowConfig
from tokensieve.server.model_watcher import FolderSource, LoadedModel, ModelWatcher
from tokensieve.server.prometheus import ShadowMetrics
from tokensieve.server.shadow import MAX_CHARACTERS, MAX_TEXTS, Shadow

TEXTS = ["I lost my card", "what is my balance", "my card is stolen", "send money please"]
SECRET = "I lost my card"


@dataclass
class Alias:
    """A source whose alias is moved by a test."""

    folders: dict[str, Path] = field(default_factory=dict)
    wanted: str = ""
    interval: float = 0.01
    stale: str | None = None
    name: str = ""

    def version(self) -> str:
        if not self.wanted:
            raise InputError("no alias challenger")
        return self.wanted

    def identity(self, version: str) -> str:
        return f"{version}-first"

    def fetch(self, version: str) -> Path:
        return self.folders[version]


class Idle:
    """How long the server has had nothing to do."""

    seconds = 1.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Rig:
    """A shadow of a served model, without a server."""

    shadow: Shadow
    champion: ModelWatcher
    alias: Alias
    idle: Idle
    report: Path
    registry: CollectorRegistry

    def send(self, texts: list[str]) -> None:
        """Do what a request does."""
        loaded = self.champion.current
        sampled = self.shadow.sample(texts)
        if sampled:
            self.shadow.offer(sampled, loaded.model.predict_by_task(texts, 3), loaded, 0.002)

    def metric(self, line: str) -> float:
        for found in generate_latest(self.registry).decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0

    def closed(self) -> ShadowReport:
        """Close the shadow and return its report."""
        self.shadow.close(30)
        report = ShadowReport.load(self.report)
        assert report is not None
        return report


def until(done: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def alias(served: Any, tmp_path: Path) -> Alias:
    """Version 2 predicts as the served model, version 3 otherwise."""
    made = {
        version: replace(served, weight=sign * served.weight).write(tmp_path / version)
        for version, sign in (("2", 1), ("3", -1))
    }
    for version, folder in made.items():
        replace(served.manifest, data_hash=f"data-{version}").save(folder)
    return Alias(made, "2")


@pytest.fixture
def rig(served: Any, tmp_path: Path, alias: Alias) -> Iterator[Callable[..., Rig]]:
    running: list[Rig] = []

    def make(share: float = 1.0, ready: bool = True, path: Path = tmp_path / "shadow.json") -> Rig:
        champion, idle, registry = ModelWatcher(FolderSource(served.folder), 1), Idle(), CollectorRegistry()
        shadow = Shadow(ShadowConfig(alias, path, share), champion, idle, ShadowMetrics(registry))
        running.append(Rig(shadow, champion, alias, idle, path, registry))
        shadow.start()
        if ready:
            until(lambda: shadow.version)
        return running[-1]

    yield make
    for started in running:
        started.shadow.close()


def test_equal_models_agree_on_every_text(rig: Callable[..., Rig], served: Any) -> None:
    made = rig()
    made.send(TEXTS)
    until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="agreed"}') == 4)
    report = made.closed()
    assert (report.champion.version, report.challenger.version) == (made.champion.current.version, "2")
    assert (report.challenger.identity, report.challenger.data_hash) == ("2-first", "data-2")
    assert (report.total.texts, report.total.agreement, report.dropped, report.failed) == (4, 1.0, 0, 0)
    assert report.total.champion_confidence == pytest.approx(report.total.challenger_confidence)
    assert report.total.champion_ms == pytest.approx(2.0)
    assert report.total.challenger_ms > 0
    expected = made.champion.current.model.predict_by_task(TEXTS, 1)[""]
    assert {label: found.texts for label, found in report.labels.items()} == {
        label: sum(prediction.label == label for prediction in expected)
        for label in {prediction.label for prediction in expected}
    }
    confident = sum(not prediction.uncertain for prediction in expected)
    assert (report.champion_confident, report.challenger_confident, report.confident.texts) == (
        confident,
    ) * 3


def test_differences_are_counted_by_the_served_models_label(rig: Callable[..., Rig], alias: Alias) -> None:
    alias.wanted = "3"
    made = rig()
    made.send(TEXTS)
    until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="differed"}') >= 1)
    until(lambda: not made.shadow._waiting)
    report = made.closed()
    ours = made.champion.current.model.predict_by_task(TEXTS, 1)[""]
    assert made.shadow._challenger is not None
    theirs = made.shadow._challenger.current.model.predict_by_task(TEXTS, 1)[""]
    agreed = sum(one.label == other.label for one, other in zip(ours, theirs, strict=True))
    assert (report.total.texts, report.total.agreed) == (4, agreed)
    assert agreed < 4
    assert report.total.challenger_confidence == pytest.approx(sum(item.probability for item in theirs) / 4)
    assert sum(found.texts for found in report.labels.values()) == 4
    label = ours[0].label
    assert made.metric(f'tokensieve_shadow_seconds_count{{label="{label}",model="challenger"}}') == sum(
        item.label == label for item in ours
    )


def test_the_report_and_the_metrics_contain_no_text(rig: Callable[..., Rig]) -> None:
    made = rig()
    made.send([SECRET])
    until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="agreed"}') == 1)
    made.closed()
    assert SECRET not in made.report.read_text(encoding="utf-8")
    assert SECRET not in generate_latest(made.registry).decode()


def test_nothing_is_computed_while_requests_are_in_progress(rig: Callable[..., Rig]) -> None:
    made = rig()
    made.idle.seconds = 0.0
    made.send(TEXTS)
    time.sleep(0.1)
    assert len(made.shadow._waiting) == 4
    made.idle.seconds = 1.0
    until(lambda: not made.shadow._waiting)
    assert made.closed().total.texts == 4


def test_the_queue_is_limited_and_what_does_not_fit_is_counted(rig: Callable[..., Rig]) -> None:
    made = rig()
    made.idle.seconds = 0.0
    for _ in range(MAX_TEXTS + 10):
        made.send([SECRET])
    assert len(made.shadow._waiting) == MAX_TEXTS
    assert made.metric('tokensieve_shadow_texts_total{outcome="dropped"}') == 10
    made.idle.seconds = 1.0
    until(lambda: not made.shadow._waiting)
    made.idle.seconds = 0.0
    long = "card " * (MAX_CHARACTERS // 10 + 1)
    made.send([long, long, "card"])
    assert [len(item.text) for item in made.shadow._waiting] == [len(long), 4]
    report = made.closed()
    assert (report.dropped, report.total.texts) == (11, MAX_TEXTS)


def test_a_share_of_the_texts_is_sampled(rig: Callable[..., Rig]) -> None:
    made = rig(share=0.1)
    places = [place for _ in range(100) for place, _ in made.shadow.sample(["card"] * 100)]
    assert 700 < len(places) < 1300  # 10 standard deviations of a binomial count around 1000


def test_a_challenger_that_raises_is_counted_and_named_once(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = rig()

    def broken(model: Any, text: str) -> None:
        raise RuntimeError(f"cannot read {text}")

    monkeypatch.setattr(shadow_module, "_predict", broken)
    with caplog.at_level(logging.WARNING, "tokensieve"):
        made.send(TEXTS)
        until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="failed"}') == 4)
    report = made.closed()
    assert (report.failed, report.total.texts, report.total.agreement) == (4, 0, None)
    assert caplog.text.count("model 2 fails on texts (RuntimeError)") == 1
    assert SECRET not in caplog.text


def test_a_slow_challenger_delays_no_call(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    made = rig()
    release = threading.Event()
    predict = shadow_module._predict

    def slow(model: Any, text: str) -> Any:
        release.wait(30)
        return predict(model, text)

    monkeypatch.setattr(shadow_module, "_predict", slow)
    made.send(TEXTS[:1])
    until(lambda: not made.shadow._waiting)
    began = time.monotonic()
    for _ in range(100):
        made.send(TEXTS)
    assert time.monotonic() - began < 10
    assert len(made.shadow._waiting) == MAX_TEXTS
    release.set()
    until(lambda: not made.shadow._waiting)
    report = made.closed()
    assert report.total.texts + report.dropped == 401


def test_a_challenger_may_come_later(
    rig: Callable[..., Rig], alias: Alias, caplog: pytest.LogCaptureFixture
) -> None:
    alias.wanted = ""
    with caplog.at_level(logging.INFO, "tokensieve"):
        made = rig(ready=False)
        until(lambda: made.shadow.trouble)
        made.send(TEXTS)
        assert (made.shadow.version, made.shadow.trouble) == (None, "no alias challenger")
        alias.wanted = "2"
        until(lambda: made.shadow.version == "2")
    assert made.shadow.trouble is None
    assert caplog.text.count("shadow: there is no challenger yet: no alias challenger") == 1
    made.send(TEXTS)
    until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="agreed"}') == 4)


def test_each_pair_of_models_is_counted_by_itself(rig: Callable[..., Rig], alias: Alias) -> None:
    made = rig()
    made.send(TEXTS)
    until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="agreed"}') == 4)
    alias.wanted = "3"
    until(lambda: made.shadow.version == "3")
    made.send(TEXTS[:2])
    until(lambda: not made.shadow._waiting)
    report = made.closed()
    assert (report.challenger.version, report.total.texts) == ("3", 2)


def test_texts_of_a_replaced_champion_are_not_compared(rig: Callable[..., Rig]) -> None:
    made = rig()
    made.idle.seconds = 0.0
    made.send(TEXTS)
    made.champion.current = replace(made.champion.current, version="another")
    made.idle.seconds = 1.0
    until(lambda: not made.shadow._waiting)
    made.send(TEXTS[:1])
    until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="agreed"}') == 1)
    report = made.closed()
    assert (report.champion.version, report.total.texts) == ("another", 1)


def test_the_served_model_is_not_compared_with_itself(rig: Callable[..., Rig]) -> None:
    made = rig()
    assert made.shadow._challenger is not None
    challenger = made.shadow._challenger.current
    made.champion.current = LoadedModel(challenger.model, challenger.version, challenger.identity)
    assert made.shadow.sample(TEXTS) == []
    made.shadow.close()
    assert not made.report.exists()


def test_counting_goes_on_after_a_restart(rig: Callable[..., Rig]) -> None:
    for texts in (4, 8):
        made = rig()
        made.send(TEXTS)
        until(lambda made=made: made.metric('tokensieve_shadow_texts_total{outcome="agreed"}') == 4)
        report = made.closed()
        assert report.total.texts == texts
    assert report.total.champion_ms == pytest.approx(2.0)


def test_a_report_that_cannot_be_written_is_logged_once(
    rig: Callable[..., Rig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(shadow_module, "SAVE_EVERY", 0.01)
    (tmp_path / "file").write_text("", encoding="utf-8")
    made = rig(path=tmp_path / "file" / "shadow.json")
    with caplog.at_level(logging.WARNING, "tokensieve"):
        made.send(TEXTS)
        until(lambda: "cannot be written" in caplog.text)
        made.send(TEXTS)
        until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="agreed"}') == 8)
        made.shadow.close()
    assert caplog.text.count("cannot be written") == 1


def test_models_of_several_tasks_are_refused(rig: Callable[..., Rig], served: Any, tmp_path: Path) -> None:
    made = rig()

    shared: Any = SimpleNamespace(tasks={"intent": None, "tone": None})
    made.champion.current = LoadedModel(shared, "1", "1")
    with pytest.raises(InputError, match="tasks intent, tone"):
        Shadow(
            ShadowConfig(made.alias, made.report),
            made.champion,
            made.idle,
            ShadowMetrics(CollectorRegistry()),
        )


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "champion": 3}'])
def test_a_file_that_is_no_report_is_ignored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "shadow.json"
    assert ShadowReport.load(path) is None
    path.write_text(content, encoding="utf-8")
    assert ShadowReport.load(path) is None


def test_a_report_is_read_as_it_was_written(rig: Callable[..., Rig], tmp_path: Path) -> None:
    made = rig()
    made.send(TEXTS)
    until(lambda: made.metric('tokensieve_shadow_texts_total{outcome="agreed"}') == 4)
    report = made.closed()
    report.save(tmp_path / "again" / "shadow.json")
    assert ShadowReport.load(tmp_path / "again" / "shadow.json") == report
    tree = json.loads(made.report.read_text(encoding="utf-8"))
    assert tree["total"]["texts"] == 4
