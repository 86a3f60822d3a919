"""The life of a model on real servers: Prefect and MLflow on PostgreSQL, and the HTTP server.

`tokensieve up` starts them. The steps are those of docs/explanation/week-in-production.md.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from flows.up.local_http import answers as is_up
from tests.system.conftest import BIN, Start, free_port, wait_for
from tests.system.story import (
    DRAWN,
    ENDINGS,
    GREETINGS,
    RUN,
    Rows,
    Run,
    Story,
    Traffic,
    rows,
    shuffled,
    write_rows,
)
from tests.system.webhook import Webhook, listening

ROOT = Path(__file__).parents[2]
READY = 300.0
# Settings with which the tiny model learns the tiny texts. With all data, 99% of the test texts are
# right.
LEARNS = (
    "export.variants=[fused]",
    "finetune.threads=1",
    "finetune.max_epochs=12",
    "finetune.learning_rate=0.003",
    "finetune.head_learning_rate=0.01",
    "mask.budget=1.0",
    "schedule.frozen_layers=0.0",
    "base.max_length=32",
    "evaluate.calibration_folds=0",
    # The confidence threshold is fitted on 36 texts, so it differs from run to run.
    "gate.max_confident_fall=0.5",
)
OTHER = (
    "which museum is open on sunday",
    "book two seats for the opera",
    "the train to the lake leaves when",
    "is it going to rain tomorrow",
    "a recipe for soup with beans",
)


@pytest.fixture
def texts(tiny_texts: tuple[list[str], list[str]]) -> dict[str, Rows]:
    """The data of the story: the first ones, those of all texts, more, and the test set."""
    all_texts, labels = tiny_texts
    few = [place for place in range(len(labels)) if place % 12 < 5]
    first = rows([all_texts[i] for i in few], [labels[i] for i in few], GREETINGS[:3], ENDINGS[:2])
    return {
        "first": first,
        "all": rows(all_texts, labels, GREETINGS[:3], ENDINGS[:2]),
        "more": rows(all_texts, labels, GREETINGS[:5], ENDINGS[:2]),
        "test": rows(all_texts, labels, GREETINGS[5:], ENDINGS[2:]),
    }


@pytest.fixture
def webhook(environment: dict[str, str]) -> Iterator[Webhook]:
    """A webhook that gets the notifications."""
    with listening() as found:
        environment["TOKENSIEVE_WEBHOOK"] = found.url
        yield found


@pytest.fixture
def story(
    start: Start,
    tokensieve: Run,
    postgres: Callable[[str], str],
    webhook: Webhook,
    texts: dict[str, Rows],
    tiny_model: Path,
    tmp_path: Path,
) -> Iterator[Story]:
    """`tokensieve up` for a new project, with a schedule of a minute."""
    project, data, test = tmp_path / "shop", tmp_path / "texts.csv", tmp_path / "test.csv"
    write_rows(data, texts["first"])
    write_rows(test, texts["test"])
    assert tokensieve("init", str(project), "--set", *LEARNS, f"base.model={tiny_model}").returncode == 0
    tree = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text(encoding="utf-8"))
    for deployment in tree["deployments"]:
        if deployment["name"] == "nightly":
            deployment["schedules"] = [{"interval": 60}]
    (project / "prefect.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    ports = {option: free_port() for option in ("--prefect-port", "--mlflow-port", "--port")}
    options = [str(word) for pair in ports.items() for word in pair]
    options += ["--postgres", postgres("unused").rpartition("/")[0]]
    options += ["--test", str(test), "--log-texts", str(tmp_path / "texts.jsonl")]
    command = ["up", "--project", str(project), "--data", str(data), *options]
    process = start("up", str(BIN / "tokensieve"), *command)
    wait_for(lambda: "\nlogs " in process.text() or process.popen.poll() is not None, READY, "the addresses")
    assert process.popen.poll() is None, process.text()
    prefect, mlflow, server = (f"http://127.0.0.1:{port}" for port in ports.values())
    left = psutil.Process(process.popen.pid).children(recursive=True)
    yield Story(process, project, data, prefect, mlflow, server, tokensieve)
    for service in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            service.kill()


@pytest.mark.timeout(3600)
def test_the_life_of_a_model(story: Story, webhook: Webhook, texts: dict[str, Rows], tmp_path: Path) -> None:
    the_schedule_trains_and_promotes_the_first_model(story)
    traffic = Traffic(story, [text for text, _ in texts["test"]])
    new_data_give_a_better_model(story, webhook, texts["all"])
    before = story.answers([text for text, _ in texts["test"][::7]])
    shuffled_labels_are_refused(story, webhook, texts["all"])
    drift_starts_a_retraining(story, texts)
    a_rollback_brings_the_same_bytes_back(story, before, [text for text, _ in texts["test"][::7]])
    the_record_has_all_of_it(story)
    a_version_is_made_again(story, tmp_path / "again")
    pruning_frees_space(story, before, [text for text, _ in texts["test"][::7]])
    traffic.stop()
    assert traffic.errors == []
    assert set(traffic.answered) == {"1", "2", "4"}
    assert story.process.stop(signal.SIGINT, 60) == 0
    assert "Traceback" not in story.process.text()


def the_schedule_trains_and_promotes_the_first_model(story: Story) -> None:
    """The schedule fires, and the first model is promoted without a person."""
    assert "nightly (every 60 s)" in story.process.text()
    assert "monitor (every 3600 s)" in story.process.text()
    wait_for(lambda: is_up(f"{story.server}/ready"), RUN, "the first champion")
    wait_for(lambda: any(run["auto_scheduled"] for run in story.retrainings()), RUN, "a scheduled run")
    # From here on, events start the runs.
    story.stop_schedules("nightly")
    assert story.version() == "1"
    (first,) = story.history()
    assert (first["from"], first["to"], first["action"]) == (None, "1", "promote")


def new_data_give_a_better_model(story: Story, webhook: Webhook, data: Rows) -> None:
    """Data arrive, and a better challenger passes the gate."""
    write_rows(story.data, data)
    run = story.retrained_after(lambda: story.begin("watch"))
    assert (run["state_name"], run["created_by"]["type"]) == ("Completed", "AUTOMATION")
    story.wait_for_version("2")
    assert "better" in story.page(run, "retrain-summary")
    assert [(sent["version"], sent["replaced"]) for sent in webhook.of("tokensieve.model.promoted")] == [
        ("1", None),
        ("2", "1"),
    ]


def shuffled_labels_are_refused(story: Story, webhook: Webhook, data: Rows) -> None:
    """40% of the labels are shuffled. The gate names the rule, and the champion stays."""
    write_rows(story.data, shuffled(data, 0.4))
    run = story.retrained_after(lambda: story.begin("watch"))
    assert run["state_name"] == "Refused"
    for text in (
        run["state"]["message"],
        story.page(run, "refused"),
        story.command("promote", status=1),
        webhook.of("tokensieve.model.refused")[-1]["reason"],
    ):
        assert "accuracy" in text
        assert "significantly worse" in text.lower()
    assert story.version() == "2"
    assert [entry["action"] for entry in story.history()] == ["promote", "promote", "refuse"]


def drift_starts_a_retraining(story: Story, texts: dict[str, Rows]) -> None:
    """Two windows of other texts start a retraining, on data that were corrected and grew."""
    write_rows(story.data, texts["more"])
    other = [f"{greeting}{text}{end}" for text in OTHER for greeting in GREETINGS for end in ENDINGS]
    window = (other * DRAWN)[:DRAWN]
    # Take the traffic so far into a window. On a slow machine there is more of it.
    assert story.run("monitor", texts=DRAWN)["state_name"] == "Completed"
    story.ask(window)
    first = story.run("monitor", texts=DRAWN)
    assert first["state_name"] == "Completed"
    assert "if the next window differs too" in story.page(first, "drift")
    story.ask(window)
    run = story.retrained_after(lambda: story.begin("monitor", texts=DRAWN))
    assert (run["state_name"], run["created_by"]["type"]) == ("Completed", "AUTOMATION")
    story.wait_for_version("4")


def a_rollback_brings_the_same_bytes_back(story: Story, before: bytes, texts: list[str]) -> None:
    """A rollback returns the earlier version bit for bit, and the next run does not undo it."""
    assert story.answers(texts) != before
    story.command("rollback", "--reason", "wrong refunds")
    story.wait_for_version("2")
    assert story.answers(texts) == before
    run = story.run("nightly")
    assert run["state_name"] == "Refused"
    assert "rolled back" in run["state"]["message"]
    assert story.version() == "2"


def the_record_has_all_of_it(story: Story) -> None:
    """The record has each move, who made it and why."""
    found = story.history()
    moves = [(entry["action"], entry["from"], entry["to"]) for entry in found]
    assert moves == [
        ("promote", None, "1"),
        ("promote", "1", "2"),
        ("refuse", "2", "3"),
        ("promote", "2", "4"),
        ("rollback", "4", "2"),
        ("refuse", "2", "4"),
    ]
    assert [bool(entry["flow_run"]) for entry in found] == [True, True, True, True, False, True]
    reasons = ["retrained", "retrained", None, "retrained", "wrong refunds"]
    assert [entry["reason"] for entry in found[:5]] == reasons
    assert "rolled back" in found[5]["reason"]
    outcomes = ["not compared", "passed", "refused", "passed"]
    assert [entry["gate"]["outcome"] for entry in found[:4]] == outcomes
    shown = story.command("history")
    assert "The record is intact: 6 entries" in shown
    assert "wrong refunds" in shown


def a_version_is_made_again(story: Story, folder: Path) -> None:
    """`reproduce` trains the champion again and gets the same bytes."""
    found = json.loads(story.command("reproduce", "2", "--into", str(folder), "--json"))
    assert found["identical"], found


def pruning_frees_space(story: Story, before: bytes, texts: list[str]) -> None:
    """`prune` deletes the refused version, and everything still works."""
    planned = json.loads(story.command("prune", "--keep", "1", "--json"))
    deleted = json.loads(story.command("prune", "--keep", "1", "--yes", "--json"))
    assert deleted["bytes"] >= planned["bytes"] > 0
    assert [one["name"] for one in deleted["found"] if one["kind"] == "version"] == ["3"]
    assert story.answers(texts) == before
    assert len(story.history()) == 6
    story.command("promote", "--version", "4", "--reason", "the refunds were right")
    story.wait_for_version("4")
    story.command("rollback", "--reason", "and back")
    story.wait_for_version("2")
    assert story.answers(texts) == before
