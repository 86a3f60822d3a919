"""Faults in a project with a champion, each with its outcome and the seconds to recover.

`make test-faults` prints the table.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.system.conftest import (  # noqa: F401
    SMALL,
    environment,
    interruptible,
    small,
    start,
    start_mlflow,
    tokensieve,
)
from tokensieve.files import sha256
from tokensieve.inference.manifest import Manifest
from tokensieve.registry.store import present_location

Run = Callable[..., subprocess.CompletedProcess[str]]
TEXT = "where is my parcel"
NAME = "tickets"


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def table() -> Iterator[Callable[[str, str, float], None]]:
    """Add a row: fault, outcome, seconds to recover. The table is printed at the end."""
    rows: list[tuple[str, str, float]] = []
    yield lambda fault, outcome, seconds: rows.append((fault, outcome, seconds))
    lines = ["", "| fault | outcome | seconds |", "|---|---|---|"]
    lines += [f"| {fault} | {outcome} | {seconds:.1f} |" for fault, outcome, seconds in rows]
    sys.stdout.write("\n".join(lines) + "\n")


@dataclass
class Trial:
    """A copy of a project whose champion is version 1, new data for it, and its user's commands."""

    root: Path
    data: Path
    tokensieve: Run
    answer: str
    expected: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Retrain on the new data."""
        return self.tokensieve("run", "--data", str(self.data), *arguments, cwd=self.root, **variables)

    def recover(self) -> float:
        """Retrain again: it gives the result of a run without a fault. Return the seconds."""
        began = time.monotonic()
        done = self.run("--json")
        seconds = time.monotonic() - began
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["model_version"] == "2"
        self.check(["1", "2"])
        return seconds

    def check(self, versions: list[str]) -> None:
        """Check the champion's answer, and that each version is registered once and whole."""
        assert self.champion() == self.answer
        uri = f"sqlite:///{self.root / 'mlflow.db'}"
        client = MlflowClient(uri, uri)
        found = client.search_model_versions(f"name = '{NAME}'")
        assert sorted(str(version.version) for version in found) == versions
        for version in found:
            location = present_location(
                uri, client.get_model_version_download_uri(NAME, str(version.version))
            )
            folder = Path(location.removeprefix("file://")) / "data" / "onnx"
            Manifest.load(folder)
            assert client.get_run(version.run_id).info.status == "FINISHED"
            if str(version.version) == "2":
                assert {name: sha256(folder / name) for name in self.expected} == self.expected
        aliases = dict(client.get_registered_model(NAME).aliases)
        assert (str(aliases["champion"]), str(aliases["challenger"])) == ("1", versions[-1])

    def champion(self) -> str:
        """Return the champion's answer to a text."""
        done = self.tokensieve("predict", "--json", TEXT, cwd=self.root)
        assert done.returncode == 0, done.stderr
        assert "no champion" not in done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder of the project that all trials copy, and the result of a run without a fault."""
    return tmp_path_factory.mktemp("made"), {}


@pytest.fixture
def trial(
    made: tuple[Path, dict[str, str]],
    tokensieve: Run,  # noqa: F811
    small: list[str],  # noqa: F811
    data_file: Path,
    tiny_texts: tuple[list[str], list[str]],
    tmp_path: Path,
) -> Trial:
    folder, expected = made
    original, grown = folder / NAME, folder / "grown.csv"
    if not expected:
        with grown.open("w", encoding="utf-8", newline="") as file:
            pairs = list(zip(*tiny_texts, strict=True))
            more = [(f"{text} again", label) for text, label in pairs[::3]]
            csv.writer(file).writerows([("text", "label"), *pairs, *more])
        for command in (("run", "--data", str(data_file), *small), ("promote",)):
            done = tokensieve(*command, "--project", str(original))
            assert done.returncode == 0, done.stderr
        whole = folder / "whole"
        shutil.copytree(original, whole, symlinks=True)
        done = tokensieve("run", "--project", str(whole), "--data", str(grown))
        assert done.returncode == 0, done.stderr
        expected |= {
            name: sha256(whole / "artifacts/onnx" / name) for name in ("model.onnx", "tokenizer.json")
        }
    copy = tmp_path / NAME
    shutil.copytree(original, copy, symlinks=True)
    found = Trial(copy, grown, tokensieve, "", expected)
    found.answer = found.champion()
    return found


@pytest.fixture
def killer(tmp_path: Path) -> Callable[[str, int], dict[str, str]]:
    """Variables of a command that is killed before its n-th write to paths of a pattern."""
    folder = tmp_path / "killer"
    folder.mkdir()
    shutil.copyfile(Path(__file__).with_name("killed_process.py"), folder / "sitecustomize.py")

    def variables(pattern: str, number: int = 1) -> dict[str, str]:
        return {"PYTHONPATH": str(folder), "KILL_PATTERN": pattern, "KILL_NUMBER": str(number)}

    return variables
