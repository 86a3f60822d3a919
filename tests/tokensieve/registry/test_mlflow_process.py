"""The answers of the child process, which is replaced here by a list of answers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tokensieve.errors import InputError
from tokensieve.registry import mlflow_process
from tokensieve.registry.mlflow_process import MlflowProcess
from tokensieve.registry.store import ModelVersion, RegistryError

FOUND = {
    "models": ["m"],
    "experiments": {"e": "deleted"},
    "aliases": {"champion": "1"},
    "versions": {"1": {"run_id": "r", "location": "/files", "created": 5}},
}


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every question is answered with `FOUND`. Return the list of questions."""
    questions: list[dict[str, Any]] = []

    def run(command: list[str], input: str, **_: Any) -> subprocess.CompletedProcess[str]:
        questions.append(json.loads(input))
        return subprocess.CompletedProcess(command, 0, f"some output\n{json.dumps(FOUND)}\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    return questions


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"tables")
    return path


def test_one_question_answers_all_about_a_model(child: list[Any], database: Path) -> None:
    reader = MlflowProcess(f"sqlite:///{database}")
    assert reader.aliases("m") == {"champion": "1"}
    assert reader.versions("m") == ["1"]
    assert reader.version("m", "1") == ModelVersion("r", "/files", 5)
    assert reader.version("m", "2") is None
    assert (reader.models(), reader.experiment("e"), reader.experiment("f")) == (["m"], "deleted", None)
    assert child == [{"ask": "describe", "uri": f"sqlite:///{database}", "name": "m"}]
    assert reader.aliases("other") is not None
    assert [question["name"] for question in child] == ["m", "other"]


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_the_child_is_asked_again_only_after_the_sqlite_file_has_changed(
    suffix: str, child: list[Any], database: Path, tmp_path: Path
) -> None:
    reader = MlflowProcess(f"sqlite:///{database}", tmp_path / "cache")
    for _ in range(3):
        reader.aliases("m")
    assert len(child) == 1
    again = MlflowProcess(f"sqlite:///{database}", tmp_path / "cache")
    assert again.aliases("m") == {"champion": "1"}
    assert len(child) == 1
    (tmp_path / f"mlflow.db{suffix}").write_bytes(b"more tables")
    for asked in (reader, again):
        asked.aliases("m")
    assert len(child) == 2  # the second one reads the answer of the first


def test_a_file_that_replaces_another_of_the_same_size_and_time_is_a_change(
    child: list[Any], database: Path, tmp_path: Path
) -> None:
    reader = MlflowProcess(f"sqlite:///{database}")
    reader.aliases("m")
    other, before = tmp_path / "other.db", database.stat()
    other.write_bytes(b"tablex")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(database)
    reader.aliases("m")
    assert len(child) == 2


def test_another_database_is_asked_each_time(child: list[Any], tmp_path: Path) -> None:
    reader = MlflowProcess("postgresql://host/db", tmp_path / "cache")
    for _ in range(2):
        reader.aliases("m")
    assert len(child) == 2
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"state": 1, "answer": 2}', '{"state": [], "answer": {}}'])
def test_a_damaged_cache_is_not_used(content: str, child: list[Any], database: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{database}"
    MlflowProcess(uri, tmp_path / "cache").aliases("m")
    for kept in (tmp_path / "cache").iterdir():
        kept.write_text(content, encoding="utf-8")
    assert MlflowProcess(uri, tmp_path / "cache").aliases("m") == {"champion": "1"}
    assert len(child) == 2


def test_a_cache_that_is_not_writable_is_not_needed(child: list[Any], database: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    reader = MlflowProcess(f"sqlite:///{database}", tmp_path / "cache")
    for _ in range(2):
        assert reader.versions("m") == ["1"]
    assert len(child) == 1


def test_a_missing_file_and_an_empty_one_are_not_opened(child: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with pytest.raises(InputError, match="does not exist; run tokensieve run first"):
        MlflowProcess(f"sqlite:///{path}").models()
    path.touch()
    with pytest.raises(RegistryError, match="the file is empty"):
        MlflowProcess(f"sqlite:///{path}").models()
    assert child == []


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"aliases": 1},
        {"aliases": {"champion": 1}},
        {"aliases": {}, "versions": {"1": {"run_id": 1, "location": "/", "created": 0}}},
    ],
)
def test_a_malformed_answer_is_an_error_of_the_registry(
    answer: Any, child: list[Any], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MlflowProcess, "_ask", lambda *_: answer)
    with pytest.raises(RegistryError, match="is malformed"):
        reader = MlflowProcess(f"sqlite:///{database}")
        reader.aliases("m")
        reader.version("m", "1")


def test_a_child_that_takes_too_long_is_named(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_process, "LOOKUP", 0.01)
    with pytest.raises(RegistryError, match="none within 0 s"):
        MlflowProcess(f"sqlite:///{database}").aliases("m")
