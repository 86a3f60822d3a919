"""What a retrain does with its challenger, with Prefect's server and without a registry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.flow_runs import resume_flow_run

from flows import gated_promotion
from flows.gated_promotion import promote_challenger
from tasks.promotion.gate_report import GateReport, Row
from tokensieve.errors import Refused
from tokensieve.project import Layout
from tokensieve.settings import Settings

RESULT = {"model_name": "words", "model_version": "2"}
PASSES = GateReport("words", "2", "1", "now", (Row("accuracy", "same", "", "no measurable change"),))
REFUSES = GateReport("words", "2", "1", "now", (Row("accuracy", "-9.0", "", "significantly worse", True),))


@pytest.fixture
def promotions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of `promote`; the events that are announced; and the artifacts."""
    calls: list[Any] = []

    def promote(
        layout: Layout, settings: Settings, version: str, reason: str, flow_run: str | None, by_person: bool
    ) -> dict[str, Any]:
        assert not by_person
        calls.append(("promote", version))
        return {"name": "words", "version": version, "replaced": "1"}

    monkeypatch.setattr(gated_promotion.promotions, "promote", promote)
    monkeypatch.setattr(gated_promotion, "announce", lambda _, event: calls.append(event.name))
    monkeypatch.setattr(
        gated_promotion, "promoted", lambda _, moved, action, reason: calls.append((action, reason))
    )
    monkeypatch.setattr(
        gated_promotion, "create_markdown_artifact", lambda markdown, **_: calls.append(markdown)
    )
    return calls


def run(report: GateReport | None, settings: Settings | None = None, approve: bool = False) -> Any:
    result = dict(RESULT)
    return promote_challenger(Layout(Path("words")), settings or Settings(), result, report, approve), result


def test_a_challenger_that_passes_is_promoted(promotions: list[Any]) -> None:
    state, result = run(PASSES)
    assert state is None
    assert result["promoted"]["version"] == "2"
    assert promotions == [("promote", "2"), ("promote", "retrained")]


def refusing(is_known: bool) -> Callable[..., None]:
    """Return a `promote` in which the gate refuses."""

    def promote(*_: Any, **__: Any) -> None:
        try:
            REFUSES.check()
        except Refused as refused:
            refused.is_known = is_known
            raise

    return promote


def test_a_refused_challenger_ends_the_run_as_refused_with_the_rule_on_its_page(
    promotions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gated_promotion.promotions, "promote", refusing(is_known=False))
    state, result = run(REFUSES, approve=True)  # nobody is asked
    assert (state.name, state.is_completed()) == ("Refused", True)
    assert "accuracy: -9.0, significantly worse" in state.message
    event, page = promotions
    assert event == "tokensieve.model.refused"
    assert page.startswith("# Refused\n\ngate: version 2 of model 'words' is refused")
    assert "SIGNIFICANTLY WORSE" in page
    assert "promoted" not in result


def test_a_refusal_that_is_known_is_not_announced_every_night(
    promotions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gated_promotion.promotions, "promote", refusing(is_known=True))
    state, _ = run(REFUSES)
    assert state.name == "Refused"
    (page,) = promotions
    assert page.startswith("# Refused")


def test_a_dry_run_leaves_it_to_the_promotion(promotions: list[Any]) -> None:
    state, _ = run(REFUSES, Settings.of({"gate": {"mode": "dry_run"}}))
    assert state is None
    assert promotions[0] == ("promote", "2")


def test_a_refusal_of_the_promotion_itself_is_one_too(
    promotions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def promote(*_: Any, **__: Any) -> None:
        raise Refused("version 2 was rolled back")

    monkeypatch.setattr(gated_promotion.promotions, "promote", promote)
    state, _ = run(None)
    assert (state.name, state.message) == ("Refused", "version 2 was rolled back")


def test_without_an_approval_in_time_nothing_is_promoted(
    promotions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(timeout: float, key: str) -> None:
        raise gated_promotion.FlowPauseTimeout("nobody came")

    monkeypatch.setattr(gated_promotion, "pause_flow_run", pause)
    state, _ = run(PASSES, approve=True)
    assert state.name == "NotApproved"
    assert state.message == "Nobody approved version 2 of words within 24 hours."
    assert promotions == []


def test_a_person_approves_on_the_page_of_the_run(promotions: list[Any], prefect_server: None) -> None:
    done: list[Any] = []

    @flow(persist_result=False)
    def retrain_and_ask() -> None:
        done.append(run(PASSES, approve=True))

    thread = threading.Thread(target=retrain_and_ask)
    thread.start()
    paused = None
    with get_client(sync_client=True) as client:
        end = time.monotonic() + 60
        while paused is None and time.monotonic() < end:
            wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PAUSED"]}}})
            paused = next(iter(client.read_flow_runs(flow_run_filter=wanted)), None)
            time.sleep(0.2)
    assert paused is not None and promotions == []
    resume_flow_run(paused.id)
    thread.join(200)
    ((state, result),) = done
    assert state is None and result["promoted"]["version"] == "2"
    assert promotions == [("promote", "2"), ("promote", "retrained, approved by a person")]
