from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import tokensieve
from tasks.tracking import provenance
from tokensieve.processor import processor
from tokensieve.project import Layout


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_recorded_with_uncommitted_changes(tmp_path: Path) -> None:
    assert provenance.of_project(tmp_path) == {}
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "params.yaml").write_text("a: 1\n", encoding="utf-8")
    git(tmp_path, "add", "params.yaml")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    (tmp_path / "untracked").write_text("", encoding="utf-8")
    clean = {
        "mlflow.source.git.commit": git(tmp_path, "rev-parse", "HEAD"),
        "mlflow.source.git.branch": "main",
        "tokensieve.git.dirty": "false",
    }
    assert provenance.of_project(tmp_path) == clean
    (tmp_path / "params.yaml").write_text("a: 2\n", encoding="utf-8")
    assert provenance.of_project(tmp_path) == clean | {
        "tokensieve.git.dirty": "true",
        "tokensieve.git.changed": "params.yaml",
    }


def test_the_environment_has_the_versions_of_the_packages(tmp_path: Path) -> None:
    found = provenance.environment("cuda (Tiny 9000)")
    assert (found["python"], found["processor"], found["device"]) == (
        platform.python_version(),
        processor(),
        "cuda (Tiny 9000)",
    )
    for name in ("tokensieve", "torch", "transformers", "tokenizers", "onnx", "onnxruntime"):
        assert found[name] == version(name)
    head = git(Path(tokensieve.__file__).parent, "rev-parse", "HEAD")
    assert found["tokensieve_commit"].removesuffix("-dirty") == head
    assert provenance.trained_with(Layout(tmp_path))["environment.torch"] == version("torch")


def test_another_repositorys_commit_is_not_taken_for_ours(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "first")
    (tmp_path / "venv" / "tokensieve").mkdir(parents=True)
    (tmp_path / "venv" / "tokensieve" / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(tokensieve, "__file__", str(tmp_path / "venv" / "tokensieve" / "__init__.py"))
    assert provenance.code_commit() == ""
