"""Kills, full disks, damaged files, a jumping clock, rivals: the same command goes on.

The champion keeps answering, and nothing that is registered is lost or there twice.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from tests.faults.conftest import NAME, Row, Trial, line_of
from tests.system.conftest import BIN, free_port, wait_for

Killer = Callable[..., dict[str, str]]

# What a run writes when it is killed, and the how-many-th time.
MOMENTS = {
    "ingest": (r"/data/\.raw\.new/", 1),
    "training": (r"/\.tokensieve/checkpoint", 2),
    "export": (r"/artifacts/\.onnx\.new/", 2),
    "registration": (r"/mlartifacts/.*/model/", 2),
    "registration, at its end": (r"/artifacts/registration/", 1),
}
# What a run writes after its stages.
AFTER_STAGES = {"gate": "artifacts/gate.json", "report": "artifacts/report.html"}


@pytest.mark.timeout(1800)
def test_killed_at_every_stage_boundary(trial: Trial, killer: Killer, table: Row) -> None:
    # Each run is killed before it records its first stage that was not recorded by the run before.
    stages = list(yaml.safe_load((trial.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    for number in range(len(stages)):
        killed = trial.run(**killer(r"/dvc\.lock$", 2 if number else 1))
        assert killed.returncode == -9, killed.stderr
    seconds = trial.recover()
    table(
        f"kill -9 before the record of each of {len(stages)} stages, one after the other", "goes on", seconds
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_within(moment: str, trial: Trial, killer: Killer, table: Row) -> None:
    pattern, number = MOMENTS[moment]
    killed = trial.run(**killer(pattern, number))
    assert killed.returncode == -9, killed.stderr
    assert trial.champion() == trial.answer
    table(f"kill -9 in {moment}", "goes on, same model", trial.recover())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of some megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root and a container that may mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.timeout(1800)
def test_full_disk_in_every_stage(trial: Trial, disk: Path, killer: Killer, table: Row) -> None:
    shutil.copytree(trial.root, disk / NAME, symlinks=True)
    trial.root = disk / NAME
    tree = yaml.safe_load((trial.root / "dvc.yaml").read_text(encoding="utf-8"))
    written = {name: next(iter(stage["outs"])) for name, stage in tree["stages"].items()}
    written = {"ingest": "data/raw", **{name: _path(out) for name, out in written.items()}, **AFTER_STAGES}
    filler = disk / "filler"
    for name, path in written.items():
        folder, _, last = path.rpartition("/")
        pattern = rf"/{folder}/\.?{re.escape(last)}(\..*new)?(/|$)"
        done = trial.run(**killer(pattern, filler=str(filler)))
        line = line_of(done.returncode, done.stderr)
        assert "the disk is full" in line, (name, line)
        filler.unlink()
    assert trial.champion() == trial.answer
    table(
        f"disk full in {', '.join(written)}, one after the other",
        "one line each; goes on with room",
        trial.recover(),
    )


def _path(out: str | dict[str, object]) -> str:
    return out if isinstance(out, str) else next(iter(out))


@pytest.mark.timeout(900)
def test_damaged_data(trial: Trial, table: Row) -> None:
    version = yaml.safe_load((trial.root / "data/raw.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"]
    before = (trial.root / "data/raw/train.csv").read_bytes()
    assert trial.tokensieve("data", "add", "--data", str(trial.data), cwd=trial.root).returncode == 0
    damaged = 0
    for path in (trial.root / ".dvc/cache").rglob("*"):
        if path.is_file() and path.read_bytes() == before:
            path.chmod(0o644)
            path.write_bytes(before[:100])
            damaged += 1
    assert damaged
    began = time.monotonic()
    restored = trial.tokensieve("data", "restore", version, cwd=trial.root)
    assert restored.returncode == 0, restored.stderr
    assert (trial.root / "data/raw/train.csv").read_bytes() == before
    table("DVC object cut off in the cache", "fetched again from the remote", time.monotonic() - began)
    trial.recover()


@pytest.mark.timeout(900)
def test_cut_registry(trial: Trial, table: Row) -> None:
    database = trial.root / "mlflow.db"
    whole = database.read_bytes()
    database.write_bytes(whole[:50_000])
    for command in (("promote",), ("stage", "register", "--force")):
        done = trial.tokensieve(*command, cwd=trial.root)
        line = line_of(done.returncode, done.stderr)
        assert "put a backup of the file there, or rename it" in line
    assert trial.tokensieve("predict", "text", cwd=trial.root).returncode == 0
    database.write_bytes(whole)
    table("mlflow.db cut off", "one line; goes on with its backup", trial.recover())


@pytest.mark.timeout(900)
def test_half_written_artifacts(trial: Trial, table: Row) -> None:
    for name in ("artifacts/model/model.safetensors", "artifacts/onnx/model.onnx"):
        path = trial.root / name
        path.chmod(0o644)
        os.truncate(path, 1000)
    table("model and export cut off", "made again, same model", trial.recover())


@pytest.fixture
def clock(tmp_path: Path) -> dict[str, str]:
    """Variables of a command whose wall clock jumps when the file CLOCK_FILE is made."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler (Debian: apt-get install gcc)")
    library = tmp_path / "clock.so"
    source = Path(__file__).with_name("jumping_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "CLOCK_FILE": str(tmp_path / "jump")}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("hours", [-25, 25])
def test_jumping_clock(
    hours: int,
    trial: Trial,
    clock: dict[str, str],
    start: Callable[..., Any],
    environment: dict[str, str],
    table: Row,
) -> None:
    variables = environment | clock | {"CLOCK_HOURS": str(hours)}
    command = (str(BIN / "tokensieve"), "run", "--data", str(trial.data))
    run = start("run", *command, env=variables, cwd=trial.root)
    wait_for(lambda: "finetune" in run.text() or run.popen.poll() is not None, 300, "the training")
    Path(clock["CLOCK_FILE"]).touch()
    assert run.popen.wait(300) == 0, run.text()
    uri = f"sqlite:///{trial.root / 'mlflow.db'}"
    registered = MlflowClient(uri, uri).get_model_version(NAME, "2").creation_timestamp / 1000
    assert registered - time.time() == pytest.approx(hours * 3600, abs=600)
    table(f"clock {hours:+d} hours in training", "completes; the next run has nothing to do", trial.recover())


@pytest.mark.timeout(900)
def test_two_retrains_at_once(trial: Trial, table: Row) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        both = [done.result() for done in [pool.submit(trial.run, "--json") for _ in range(2)]]
    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    assert {json.loads(done.stdout)["model_version"] for done in both} == {"2"}
    trial.check(["1", "2"])
    table("two retrains at once", "one waits; one version", time.monotonic() - began)


@pytest.mark.timeout(900)
def test_alias_moved_and_version_deleted_while_serving(
    trial: Trial, start: Callable[..., Any], table: Row
) -> None:
    assert trial.run().returncode == 0
    port = free_port()
    service = f"http://127.0.0.1:{port}"
    command = [str(BIN / "tokensieve"), "serve", "--model", f"models:/{NAME}@champion", "--port", str(port)]
    start("serve", *command, "--poll-interval", "1", url=f"{service}/ready", cwd=trial.root)
    uri = f"sqlite:///{trial.root / 'mlflow.db'}"
    client = MlflowClient(uri, uri)

    def served() -> str:
        request = urllib.request.Request(
            f"{service}/predict", json.dumps({"text": "hello"}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(json.load(response)["version"])

    assert served() == "1"
    began = time.monotonic()
    client.set_registered_model_alias(NAME, "champion", "2")
    wait_for(lambda: served() == "2", 120, "the server to answer with version 2")
    table("alias moved while serving", "answers with the other version", time.monotonic() - began)
    client.delete_model_version(NAME, "2")
    time.sleep(5)
    assert served() == "2"
    began = time.monotonic()
    client.set_registered_model_alias(NAME, "champion", "1")
    wait_for(lambda: served() == "1", 120, "the server to answer with version 1")
    table("served version deleted", "answers on; then with the next champion", time.monotonic() - began)
    again = trial.run("--json")
    assert again.returncode == 0, again.stderr
    assert re.fullmatch("[23]", json.loads(again.stdout)["model_version"])
