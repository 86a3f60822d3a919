from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tokensieve.cli import serve
from tokensieve.cli.main import main
from tokensieve.registry.models import RegisteredModel
from tokensieve.server import app


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder that is no finished export: whatever is refused before it is read does not depend on
    it.
    """
    folder = tmp_path / "onnx"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "-1"], "--workers is -1; it must be at least 0"),
        (["--threads", "0"], "--threads is 0; it must be above 0"),
        (["--timeout", "0"], "--timeout is 0; it must be above 0"),
        (["--timeout", "nan"], "--timeout is nan; it must be finite and above 0"),
        (["--poll-interval", "inf"], "--poll-interval is inf; it must be finite and "),
        (["--port", "65536"], "--port is 65536; it must be at most 65535"),
        (["--tls-key", "key.pem"], "--tls-certificate and --tls-key belong together"),
        (["--tls-key", "none.pem", "--tls-certificate", "none.pem"], "none.pem cannot be read"),
        (["--api-key-file", "none"], "--api-key-file none cannot be read (No such file or directory)"),
        ([], "manifest.json, which an export writes last"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    options: list[str], words: str, served: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--model", str(served), *options]) == 2
    output = capfd.readouterr()
    assert words in output.err
    assert output.out == ""


def test_an_empty_key_is_refused_and_not_taken_for_none(
    served: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (served / "key").write_text(" \n", encoding="utf-8")
    assert main(["serve", "--model", str(served), "--api-key-file", str(served / "key")]) == 2
    assert "is empty" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xef\xbb\xbfsesame\n", "begins with a byte order mark"),
        (b"one\ntwo\n", "has several lines"),
        (b"one\xc2\x85two", "has several lines"),
        (b"s\x00same", "has control characters"),
        (b"s\xe9same", "is not UTF-8"),
    ],
)
def test_a_key_that_no_request_can_match_is_refused(
    key: bytes, words: str, served: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (served / "key").write_bytes(key)
    assert main(["serve", "--model", str(served), "--api-key-file", str(served / "key")]) == 2
    assert words in capfd.readouterr().err


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "is empty; write the key into it, or unset it"),
        ("sesame\n", "begins or ends with a space or a line end"),
        (" sesame", "begins or ends with a space or a line end"),
        ("\ufeffsesame", "begins with a byte order mark"),
        ("one\ntwo", "has several lines"),
        ("s\udce9same", "is not UTF-8"),
    ],
)
def test_so_is_one_of_the_environment(
    key: str, words: str, served: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENSIEVE_API_KEY", key)
    assert main(["serve", "--model", str(served)]) == 2
    error = capfd.readouterr().err
    assert "TOKENSIEVE_API_KEY" in error
    assert words in error


@pytest.mark.parametrize(
    ("given", "expected"),
    [(b"sesame", "sesame"), (b"sesame\r\n", "sesame"), ("schl\u00fcssel\n".encode(), "schl\u00fcssel")],
)
def test_a_line_end_after_the_key_of_a_file_is_none_of_it(
    given: bytes, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(given)
    assert serve._key(tmp_path / "key") == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--root-path", "labels"], "--root-path is 'labels'; it must start with /"),
        (["--root-path", "/labels/"], "--root-path is '/labels/'"),
        (["--cors-origin", "example.org"], "--cors-origin is 'example.org'; it must be * or"),
        (["--cors-origin", "https://example.org/page"], "--cors-origin is 'https://example.org/page'"),
        (["--keep-alive", "0"], "--keep-alive is 0; it must be above 0"),
    ],
)
def test_a_prefix_or_an_origin_that_matches_nothing_is_refused(
    options: list[str], words: str, served: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--model", str(served), *options]) == 2
    assert words in capfd.readouterr().err


def test_options_reach_the_service(
    served: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "tokensieve.server.model_watcher.ModelWatcher", lambda source, threads: (source, threads)
    )
    monkeypatch.setattr(app, "serve", lambda *arguments: seen.extend(arguments))
    monkeypatch.setenv("TOKENSIEVE_API_KEY", "sesame")
    options = (
        "--workers 3 --threads 2 --max-texts 5 --max-queue 7 --timeout 1.5 --poll-interval 9 "
        "--max-batch-tokens 64"
    )
    options += " --keep-alive 90 --grace 3 --max-held 9 --root-path /x --cors-origin https://a.b"
    options += f" --no-console --max-feedback 99 --feedback {served / 'right.jsonl'}"
    assert (
        main(["serve", "--model", str(served), *options.split(), "--log-texts", str(served / "texts.jsonl")])
        == 0
    )
    assert f"loading {served} ..." in capfd.readouterr().err
    (source, threads), settings, limits, key, journal, shadow, feedback = seen
    assert (source.path, threads) == (served, 2)
    assert (settings.workers, settings.threads, settings.max_batch_tokens, settings.poll_interval) == (
        3,
        2,
        64,
        9.0,
    )
    assert (limits.max_texts, limits.max_queue, limits.timeout, limits.max_characters) == (5, 7, 1.5, 20_000)
    assert (settings.keep_alive, settings.grace, settings.root_path, settings.cors_origins) == (
        90,
        3,
        "/x",
        ("https://a.b",),
    )
    assert (limits.max_held, limits.max_feedback, settings.console) == (9, 99, False)
    assert key == "sesame"
    assert shadow is None
    journal.close()
    feedback.close()
    assert (served / "right.jsonl").stat().st_mode & 0o777 == 0o600


def test_without_a_model_the_champion_is_served_else_the_last_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("tokensieve.server.model_watcher.ModelWatcher", lambda source, threads: source)
    monkeypatch.setattr(app, "serve", lambda *arguments: seen.append(arguments[0]))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = tmp_path / "intents"
    exported = project / "artifacts" / "onnx"
    exported.mkdir(parents=True)
    command = ["serve", "--project", str(project)]
    assert main(command) == 2
    assert "is not a project. Use --model" in capfd.readouterr().err
    (project / "params.yaml").touch()
    assert main(command) == 2
    assert "and no exported model. Create one with tokensieve run" in capfd.readouterr().err
    (exported / "manifest.json").touch()
    assert main(command) == 0
    assert seen.pop().path == exported
    assert f"model: {exported}, the project's last export (no champion: " in capfd.readouterr().err
    monkeypatch.setattr(RegisteredModel, "version", lambda model: "1")
    monkeypatch.setattr(RegisteredModel, "fetch", lambda model, version: project / "intents-1-abc")
    assert main(command) == 0
    assert (seen[0].name, seen[0].alias) == ("intents", "champion")
    assert "model: models:/intents@champion, the champion (intents-1-abc)" in capfd.readouterr().err


def test_the_challenger_has_a_source_a_share_and_a_file(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("tokensieve.server.model_watcher.ModelWatcher", lambda source, threads: source)
    monkeypatch.setattr(app, "serve", lambda *arguments: seen.append(arguments[5]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    command = ["serve", "--model", str(served), "--shadow"]
    assert main([*command, str(served)]) == 0
    assert (seen[0].source.path, seen[0].share) == (served, 0.1)
    assert seen[0].report == tmp_path / ".tokensieve" / "shadow.json"
    rest = ["--shadow-share", "1", "--shadow-report", "compared.json"]
    assert main([*command, "models:/intents@challenger", *rest]) == 0
    assert (seen[1].source.name, seen[1].source.alias) == ("intents", "challenger")
    assert (seen[1].share, seen[1].report) == (1.0, Path("compared.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shadow-share", "0"], "--shadow-share is 0; it must be above 0 and at most 1"),
        (["--shadow-share", "1.5"], "--shadow-share is 1.5"),
        (["--shadow-share", "nan"], "--shadow-share is nan"),
        (["--shadow-report", "x.json"], "--shadow-report is of no use without --shadow"),
        (["--shadow", "absent"], "--shadow absent does not exist"),
        (["--shadow", "models:/x"], "'models:/x' names no model version"),
    ],
)
def test_wrong_options_of_the_challenger_are_refused(
    served: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["serve", "--model", str(served), *options]) == 2
    assert message in capfd.readouterr().err
