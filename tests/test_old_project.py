"""A registry that commit 9f0881d made: its models load, and champions are promoted and rolled back,
with the code of today.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TEXTS = ("where is my parcel", "block my card", "topup failed")
# The label, the probability and whether it is uncertain: what version 1 and 2 answered to TEXTS at
# that commit.
ANSWERS = {
    "1": [("topup", 0.542192, False), ("refund", 0.818498, False), ("topup", 0.518794, False)],
    "2": [("topup", 0.522512, False), ("refund", 0.451164, False), ("topup", 0.329018, True)],
}
LOAD = """
import json, sys
if sys.argv[3] == "current":
    import tokensieve.inference.predictor
import mlflow
import pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
found = model.predict(pandas.DataFrame({"text": sys.argv[4:]}))
print(json.dumps([sys.modules["tokensieve"].__file__, found]))
"""


def output_of(project: Path, *command: str) -> str:
    """Return what a program prints in the folder `project`, with a home folder of its own."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "PREFECT"))
    }
    environment |= {"HOME": str(project.parent), "PREFECT_HOME": str(project.parent / ".prefect")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tokensieve(project: Path, *arguments: str) -> str:
    return output_of(project, str(Path(sys.executable).parent / "tokensieve"), *arguments)


def as_answers(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(row["label"], pytest.approx(row["probability"], abs=1e-4), row["uncertain"]) for row in rows]


def champion(project: Path) -> str:
    """Return the version that a user of the registry gets as the champion, by its answers."""
    printed = tokensieve(project, "predict", "--model", "models:/shop@champion", "--json", *TEXTS)
    rows = as_answers([json.loads(line) for line in printed.splitlines()])
    return next(version for version, answers in ANSWERS.items() if rows == answers)


@pytest.mark.parametrize("code", ["own", "current"])
def test_registered_model_loads_as_pyfunc(old_project: Path, code: str) -> None:
    """With its own copy of the code, and with today's code, whose loader has moved."""
    arguments = [f"sqlite:///{old_project / 'mlflow.db'}", "models:/shop/1", code, *TEXTS]
    file, rows = json.loads(output_of(old_project, sys.executable, "-c", LOAD, *arguments).splitlines()[-1])
    assert as_answers(rows) == ANSWERS["1"]
    assert (old_project in Path(file).parents) == (code == "own")


def test_champion_is_rolled_back_and_promoted(old_project: Path) -> None:
    assert champion(old_project) == "2"

    tokensieve(old_project, "rollback")
    assert champion(old_project) == "1"

    tokensieve(old_project, "promote", "--version", "2", "--reason", "it was a trial")
    assert champion(old_project) == "2"


def test_earlier_data_are_listed_and_restored(old_project: Path) -> None:
    """By the names that these commands had."""
    listed = tokensieve(old_project, "versions").splitlines()
    assert [line.split()[-1] for line in listed] == ["first.csv", "second.csv"]
    tokensieve(old_project, "restore", listed[0].split()[0])
    assert tokensieve(old_project, "versions").startswith("*")
