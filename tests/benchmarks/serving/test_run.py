from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving import run, servers
from benchmarks.serving.servers import ServerKind

LOAD = {"p50": 2.0, "p95": 3.0, "p99": 4.0, "texts_per_second": 480.0}
RESULT: dict[str, Any] = {
    "workers": 2,
    "machine": {"cpu": "Some CPU"},
    "inprocess": {
        "torch": {"p50": 8.0, "p95": 9.0, "p99": 10.0, "agreement": 1.0, "accuracy": 0.86},
        "tokensieve": {"p50": 2.0, "p95": 2.5, "p99": 3.0, "agreement": 0.998},
    },
    "predictor": {"texts_per_second": 600.0},
    "http": {
        "tokensieve": {
            "start_seconds": 1.2,
            "memory_mib": 170.4,
            "added": 0.6,
            "share": 0.8,
            "clients": {"1": LOAD, "8": LOAD, "32": LOAD},
        }
    },
    "skipped": {"LitServe": "no environment litserve"},
}


def test_the_tables_show_what_was_measured_and_what_was_not() -> None:
    text = run.tables(RESULT)
    assert "| torch | 8.00 | 9.00 | 10.00 | 4.0 | 100.0% | 0.8600 |" in text
    assert "| tokensieve | 2.00 | 2.50 | 3.00 | 1.0 | 99.8% | – |" in text
    assert "| tokensieve | 1.2 | 170 | 0.60 | 2.00, 4.0 | 480, 4 | 480, 4 | 80% |" in text
    assert "600 texts/s. 2 cores of Some CPU." in text
    assert "Not measured: LitServe (no environment litserve)." in text


def test_the_readme_gets_the_tables_between_its_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme, result = tmp_path / "README.md", tmp_path / "serving.json"
    result.write_text(json.dumps(RESULT), encoding="utf-8")
    readme.write_text(
        "before\n<!-- benchmarks.serving.run: begin -->\nold\n<!-- benchmarks.serving.run: end -->\nafter\n",
        encoding="utf-8",
    )
    for _ in range(2):
        assert run.main(["--readme", str(readme), "--output", str(result)]) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert text.count("over HTTP") == 1
    assert (tmp_path / "serving.png").read_bytes().startswith(b"\x89PNG")
    assert "old" not in text
    readme.write_text("no marks", encoding="utf-8")
    assert run.main(["--readme", str(readme), "--output", str(result)]) == 2
    assert "lacks the lines" in capsys.readouterr().err


def test_without_a_project_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(servers.shutil, "which", lambda _: "wrk")
    assert run.main([]) == 2
    assert "--project" in capsys.readouterr().err


STARTS = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): print(child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


def test_a_server_is_ready_weighed_and_stopped_with_its_children(tmp_path: Path) -> None:
    kind = ServerKind("echo", (sys.executable, "-c", STARTS, "{port}"), "/predict", Path(sys.executable))
    log = tmp_path / "log"
    with servers.running(kind, tmp_path, 1, "text", log) as server:
        assert server.seconds > 0
        assert server.memory() > 5
    child = int(log.read_text(encoding="utf-8").split()[0])
    # Killed; its new parent may take a moment to fetch it.
    deadline = time.monotonic() + 60
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether a process runs. One that has ended may wait for its parent to fetch it."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    kind = ServerKind(
        "broken",
        (sys.executable, "-c", "raise SystemExit('no such model')"),
        "/predict",
        Path(sys.executable),
    )
    with (
        pytest.raises(RuntimeError, match="broken did not respond: no such model"),
        servers.running(kind, tmp_path, 1, "a", tmp_path / "log"),
    ):
        pass


def test_what_is_served_alone_needs_no_rival_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.run", "--help"], capture_output=True, text=True, check=True
    )
    assert "--rivals" in done.stdout
