"""Events: what is sent, to which server, and that a promotion never waits for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import events, notifications
from flows.events import DataChanged, DriftFound, ModelPromoted, ModelRefused, RunFailed
from tokensieve.files import write_json
from tokensieve.project import Layout

ROOT = Path(__file__).parents[2]
PROMOTED = ModelPromoted("intents", "3", "2", "promote", "better on refunds")


@dataclass
class Received:
    """A server that keeps what is sent to it."""

    url: str
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    seconds: float = 0.0  # before it responds
    status: int = 200


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    """An HTTP server of the test. The environment names no server."""
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", notifications.VARIABLE):
        monkeypatch.delenv(name, raising=False)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kept.requests.append((self.path, dict(self.headers), body))
            time.sleep(kept.seconds)
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Received(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


def test_an_event_reaches_prefects_server(
    received: Received, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{received.url}/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:secret")
    assert events.emit(Layout(tmp_path), PROMOTED)
    ((path, headers, (body,)),) = received.requests
    assert path == "/api/events"
    assert headers["Authorization"] == "Basic bWU6c2VjcmV0"
    assert body["event"] == "tokensieve.model.promoted"
    assert body["resource"]["prefect.resource.id"] == f"tokensieve.project.{tmp_path}"
    assert body["payload"] == {
        "model": "intents",
        "version": "3",
        "replaced": "2",
        "action": "promote",
        "reason": "better on refunds",
    }


@pytest.mark.parametrize(
    "event",
    [
        PROMOTED,
        DataChanged("data.csv", "abc", None),
        DriftFound("intents", "3", 500, ("labels", "domain")),
        ModelRefused("intents", "4", "macro F1 is significantly worse"),
        RunFailed("validate", "one class", "retrain a"),
    ],
)
def test_prefect_takes_every_event(event: events.Event, tmp_path: Path) -> None:
    from prefect.events.schemas.events import Event

    sent = Event.model_validate(events.as_sent(Layout(tmp_path), event))
    assert sent.event == event.name


def test_a_running_up_is_found_without_a_variable(received: Received, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert not events.emit(layout, PROMOTED)
    layout.addresses.parent.mkdir(parents=True)
    write_json(layout.addresses, {"prefect_api": f"{received.url}/api"})
    assert events.emit(layout, PROMOTED)


def test_the_webhook_gets_the_event_in_words_and_as_keys(
    received: Received, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(notifications.VARIABLE, f"{received.url}/hooks/secret")
    assert notifications.announce(Layout(tmp_path / "intents"), PROMOTED) == ("webhook",)
    ((path, _, body),) = received.requests
    assert path == "/hooks/secret"
    assert body["text"] == (
        "intents: version 3 of intents is now the champion; before: version 2; reason: better on refunds"
    )
    assert (body["event"], body["version"]) == ("tokensieve.model.promoted", "3")


@pytest.mark.parametrize("fault", ["slow", "refuses", "closed"])
def test_a_faulty_server_neither_delays_nor_fails_a_promotion_and_is_logged_without_its_address(
    fault: str,
    received: Received,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    received.seconds = 120.0 if fault == "slow" else 0.0
    received.status = 500
    url = "http://127.0.0.1:1" if fault == "closed" else received.url
    monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
    monkeypatch.setenv(notifications.VARIABLE, f"{url}/hooks/secret")
    began = time.monotonic()
    assert notifications.announce(Layout(tmp_path), PROMOTED) == ()
    assert time.monotonic() - began < 60  # two requests of two seconds each, on a machine that may be busy
    assert "secret" not in caplog.text
    if fault != "slow":
        assert "TOKENSIEVE_WEBHOOK was not notified" in caplog.text
        assert "did not reach Prefect's server" in caplog.text


def test_what_has_received_an_event_does_not_get_it_again(
    received: Received, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", f"{received.url}/api")
    assert notifications.announce(layout, PROMOTED, ["prefect"]) == ("prefect", "webhook")  # none is set
    assert received.requests == []
    monkeypatch.setenv(notifications.VARIABLE, f"{received.url}/hook")
    assert notifications.announce(layout, PROMOTED, ["webhook"]) == ("prefect", "webhook")
    assert [path for path, _, _ in received.requests] == ["/api/events"]


def test_the_same_champion_again_is_not_announced(
    received: Received, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(notifications.VARIABLE, received.url)
    notifications.promoted(Layout(tmp_path), {"name": "a", "version": "2", "replaced": "2"}, "promote")
    assert received.requests == []


def test_the_triggers_of_the_deployments_name_events_that_exist() -> None:
    from prefect.events import DeploymentEventTrigger

    tree = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text(encoding="utf-8"))
    triggers = [trigger for found in tree["deployments"] for trigger in found.get("triggers", [])]
    names = {name for trigger in triggers for name in trigger["expect"]}
    assert names == {DataChanged.name, DriftFound.name}
    for trigger in triggers:
        DeploymentEventTrigger.model_validate(trigger)
        assert trigger["match"] == {"prefect.resource.id": events.resource(Path("*"))}
