"""Services that end or hang are started again, and end all if that does not help."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flows.up import supervisor
from flows.up.service import Service
from flows.up.supervisor import ServiceFailedError, StoppedError, Supervisor
from tokensieve.errors import InputError

FAILS = "print('the database is locked at postgresql://me:secret@db'); raise SystemExit(3)"
SLEEPS = "import time; time.sleep(120)"


def _service(tmp_path: Path, program: str, name: str = "MLflow", healthy: bool = True) -> Service:
    return Service(name, (sys.executable, "-c", program), tmp_path / f"{name}.log", lambda began: healthy)


def _runs(process: psutil.Process) -> bool:
    """Return whether it runs. A zombie, which waits for PID 1 to collect it, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_service_that_does_not_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    running = Supervisor(threading.Event(), lambda service: None)
    with pytest.raises(InputError) as raised:
        running.start([_service(tmp_path, FAILS, healthy=False)])
    message = str(raised.value)
    assert "MLflow did not start: exit status 3" in message
    assert f"the last lines of {tmp_path / 'MLflow.log'}:\n  the database is locked" in message
    assert "secret" not in message
    running.end()


def test_a_service_that_ends_again_and_again_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "FAILURES", 1)
    reported: list[str] = []
    running = Supervisor(threading.Event(), lambda service: reported.append(service.name))
    earlier = set(psutil.Process().children(recursive=True))
    running.start([_service(tmp_path, SLEEPS, "Prefect")])
    began = time.monotonic()
    with pytest.raises(ServiceFailedError, match="MLflow ended 2 times in a row: exit status 3"):
        running.watch([_service(tmp_path, FAILS, healthy=False)])
    assert time.monotonic() - began > 1.0
    assert reported == ["Prefect"]
    assert "MLflow starts again in 1 s" in caplog.text
    started = set(psutil.Process().children(recursive=True)) - earlier
    assert started
    running.end()
    assert not [process for process in started if _runs(process)]


def test_a_service_that_is_not_vital_is_tried_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "FAILURES", 0)
    monkeypatch.setattr(supervisor, "LONGEST", 0)
    stop = threading.Event()
    running = Supervisor(stop, lambda service: None)
    line = "server starts again in 0 s"

    def stop_at_the_second() -> None:
        end = time.monotonic() + 120
        while caplog.text.count(line) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        stop.set()

    threading.Thread(target=stop_at_the_second).start()
    with pytest.raises(StoppedError):
        running.watch([replace(_service(tmp_path, FAILS, "server", healthy=False), vital=False)])
    assert caplog.text.count(line) > 1
    running.end()


def test_a_service_that_hangs_is_ended_and_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "SILENT_LOOKS", 2)
    stop, reported = threading.Event(), list[str]()
    # One look without a response is forgotten. Two in a row are not.
    responses = iter([True, False, True, False, False])

    def report(service: Service) -> None:
        reported.append(service.name)
        if len(reported) == 2:
            stop.set()

    running = Supervisor(stop, report)
    hangs = replace(_service(tmp_path, SLEEPS, "Prefect"), responds=lambda guard: next(responses, True))
    with pytest.raises(StoppedError):
        running.watch([hangs])
    assert next(responses, None) is None
    assert caplog.text.count("Prefect has not responded for 0 s: it is ended") == 1
    assert "Prefect ended: exit status 143" in caplog.text
    assert "Prefect starts again in 1 s" in caplog.text
    assert reported == ["Prefect", "Prefect"]
    running.end()


def test_a_service_that_is_not_ready_after_a_restart_is_ended_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "STARTUP_SECONDS", 0.2)
    stop = threading.Event()
    running = Supervisor(stop, lambda service: None)

    def stop_after_the_end() -> None:
        if "MLflow starts again in 1 s" in caplog.text:
            stop.set()

    with pytest.raises(StoppedError):
        running.watch([_service(tmp_path, SLEEPS, healthy=False)], stop_after_the_end)
    assert caplog.text.count("MLflow is not ready after 0 s: it is ended") == 1
    assert "MLflow ended: exit status 143" in caplog.text
    running.end()


def test_a_service_is_started_when_it_is_needed(tmp_path: Path) -> None:
    stop, needed, reported = threading.Event(), threading.Event(), list[str]()

    def report(service: Service) -> None:
        reported.append(service.name)
        stop.set()

    later = Service(
        "server",
        (sys.executable, "-c", SLEEPS),
        tmp_path / "server.log",
        lambda began: True,
        needed=needed.is_set,
    )
    running = Supervisor(stop, report)
    threading.Timer(1.0, needed.set).start()
    with pytest.raises(StoppedError):
        running.watch([later])
    assert reported == ["server"]
    assert needed.is_set()
    running.end()
