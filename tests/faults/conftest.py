"""Faults in a project with a champion, each with its outcome and the seconds to recover.

`make test-faults` prints the table.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.system.conftest import (  # noqa: F401
    SMALL,
    environment,
    interruptible,
    postgres,
    small,
    start,
    start_mlflow,
    start_prefect,
    tokensieve,
)
from tokensieve.files import sha256
from tokensieve.inference.manifest import Manifest
from tokensieve.registry.store import present_location

Run = Callable[..., subprocess.CompletedProcess[str]]
Row = Callable[[str, str, float], None]
TEXT = "where is my parcel"
NAME = "tickets"
# Faults that other tests try.
ELSEWHERE = {
    "kill -9 at each step of a promotion": "tests/system/test_promotion_record.py",
    "promotions at once by four processes": "tests/system/test_promotion_record.py",
    "a worker killed, with and without its run": "tests/system/test_schedule.py",
    "a worker of a sweep killed": "tests/system/test_sweep.py",
    "the registry down when a server starts": "tests/system/test_registry_down.py",
    "Ctrl-C and SIGTERM": "tests/system/test_interrupts.py",
}


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)


def line_of(status: int, errors: str) -> str:
    """Return the one line in which a command that ended with `status` reports its error."""
    assert status == 2, errors
    lines = [line for line in errors.splitlines() if line.startswith("tokensieve: ")]
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    return lines[0]


@pytest.fixture
def table(record_property: Callable[[str, object], None]) -> Row:
    """Add a row: fault, outcome, seconds to recover. The table is printed at the end."""
    return lambda fault, outcome, seconds: record_property("fault", (fault, outcome, seconds))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows of all tests, and where the other faults are tested."""
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    rows = [row for report in reports for name, row in report.user_properties if name == "fault"]
    terminalreporter.section("faults")
    terminalreporter.write_line("| fault | outcome | seconds to recover |\n|---|---|---|")
    for fault, outcome, seconds in sorted(rows):
        terminalreporter.write_line(f"| {fault} | {outcome} | {seconds:.1f} |")
    for fault, test in ELSEWHERE.items():
        terminalreporter.write_line(f"| {fault} | {test} | |")


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
def killer(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Variables of a command that is killed before its n-th write to paths of a pattern.

    With `filler`, its disk is filled with that file instead.
    """
    folder = tmp_path / "killer"
    folder.mkdir()
    shutil.copyfile(Path(__file__).with_name("faulty_process.py"), folder / "sitecustomize.py")

    def variables(pattern: str, number: int = 1, filler: str = "") -> dict[str, str]:
        moment = {"FAULT_PATTERN": pattern, "FAULT_NUMBER": str(number), "FAULT_FILLER": filler}
        return moment | {"PYTHONPATH": str(folder)}

    return variables
