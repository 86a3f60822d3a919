"""Check the Dockerfile, also with hadolint if it is installed. No image is built."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tokensieve.environment import NO_REPORTS

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage as (word, rest), with continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace(
        "\\\n", " "
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for line in filter(None, text.splitlines()):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            found[rest.split()[-1]] = []
        elif found:
            found[list(found)[-1]].append((word, rest))
    return found


def last(stage: str, word: str) -> str:
    return [rest for found, rest in stages()[stage] if found == word][-1]


def test_hadolint_finds_no_fault() -> None:
    if not shutil.which("hadolint"):
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        ["hadolint", "--failure-threshold", "style", str(DOCKERFILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_default_image_installs_only_the_serve_extra() -> None:
    assert list(stages())[-1] == "serve"
    installed = [rest for word, rest in stages()["serve"] if word == "RUN" and "pip install" in rest]
    assert len(installed) == 1
    assert '"tokensieve[serve] @ file://' in installed[0]
    assert "--constraint" in installed[0]


@pytest.mark.parametrize("stage", ["serve", "pipeline", "mlflow"])
def test_no_image_runs_as_root(stage: str) -> None:
    # A number: Kubernetes cannot verify that a user name is not root.
    assert last(stage, "USER") == "10001"
    assert "useradd --uid 10001" in last(stage, "RUN")


@pytest.mark.parametrize(
    ("stage", "variables"),
    [
        ("serve", {"DO_NOT_TRACK", "ORT_DISABLE_TELEMETRY"}),
        (
            "pipeline",
            {
                "DO_NOT_TRACK",
                "ORT_DISABLE_TELEMETRY",
                "MLFLOW_DISABLE_TELEMETRY",
                "PREFECT_SERVER_ANALYTICS_ENABLED",
            },
        ),
        ("mlflow", {"DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"}),
    ],
)
def test_images_disable_usage_reports(stage: str, variables: set[str]) -> None:
    given = dict(
        pair.split("=", 1) for word, rest in stages()[stage] if word == "ENV" for pair in rest.split()
    )
    assert {name: given.get(name) for name in variables} == {name: NO_REPORTS[name] for name in variables}


def test_health_check_requests_the_ready_path() -> None:
    _, command = last("serve", "HEALTHCHECK").split(" CMD ")
    python, option, program = json.loads(command)
    assert (python, option) == ("python", "-c")
    compile(program, "HEALTHCHECK", "exec")
    assert f":{last('serve', 'EXPOSE')}/ready" in program


def test_entry_point_is_an_existing_command() -> None:
    from tokensieve.cli.main import build_parser

    entry, default = json.loads(last("serve", "ENTRYPOINT")), json.loads(last("serve", "CMD"))
    assert entry[0] == "tokensieve"
    options = build_parser().parse_args([*entry[1:], *default])
    assert (options.host, options.port, options.model) == ("0.0.0.0", int(last("serve", "EXPOSE")), "/model")


def test_copied_paths_exist_and_are_not_ignored() -> None:
    taken = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for found in stages().values()
        for word, rest in found
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert {"pyproject.toml", "tokensieve", "flows"} <= copied <= taken
    assert all((ROOT / name).exists() for name in taken)
