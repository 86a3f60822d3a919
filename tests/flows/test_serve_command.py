from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from tokensieve.server import app


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder that is no finished export: whatever is refused before it is read does not depend on it."""
    folder = tmp_path / "onnx"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "-1"], "--workers is -1; it must be at least 0"),
        (["--threads", "0"], "--threads is 0; it must be above 0"),
        (["--timeout", "0"], "--timeout is 0; it must be above 0"),
        (["--port", "65536"], "--port is 65536; it must be at most 65535"),
        (["--tls-key", "key.pem"], "--tls-certificate and --tls-key belong together"),
        (["--tls-key", "none.pem", "--tls-certificate", "none.pem"], "none.pem cannot be read"),
        (["--api-key-file", "none"], "--api-key-file none cannot be read (No such file or directory)"),
        ([], "holds no manifest.json"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: list[str], words: str, served: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--model", str(served), *options]) == 2
    output = capfd.readouterr()
    assert words in output.err
    assert output.out == ""


def test_an_empty_key_is_refused_and_not_taken_for_none(served: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (served / "key").write_text(" \n", encoding="utf-8")
    assert main(["serve", "--model", str(served), "--api-key-file", str(served / "key")]) == 2
    assert "is empty" in capfd.readouterr().err


def test_options_reach_the_service(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("tokensieve.server.live.Live", lambda source, threads: (source, threads))
    monkeypatch.setattr(app, "serve", lambda *arguments: seen.extend(arguments))
    monkeypatch.setenv("TOKENSIEVE_API_KEY", "sesame")
    options = "--workers 3 --threads 2 --max-texts 5 --queue 7 --timeout 1.5 --interval 9 --batch 64"
    assert main(["serve", "--model", str(served), *options.split(), "--log-texts", str(served / "texts.jsonl")]) == 0
    (source, threads), settings, limits, key, journal = seen
    assert (source.path, threads) == (served, 2)
    assert (settings.workers, settings.threads, settings.batch, settings.interval) == (3, 2, 64, 9.0)
    assert (limits.texts, limits.queue, limits.seconds, limits.characters) == (5, 7, 1.5, 20_000)
    assert key == "sesame"
    journal.close()
