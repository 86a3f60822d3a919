"""Check compose.yaml, also with Docker Compose if it is installed. No container is started."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


def variables() -> dict[str, str]:
    """Return the names and values of .env.example."""
    lines = (DEPLOY / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def configured(environment: Path) -> subprocess.CompletedProcess[str]:
    """Run `docker compose config`. Skip the test if it is not installed."""
    if shutil.which("docker-compose"):
        command = ["docker-compose"]
    elif (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    ):
        command = ["docker", "compose"]
    else:
        pytest.skip("Docker Compose is not installed")
    # Variables of the shell would override the file.
    inherited = {name: value for name, value in os.environ.items() if name not in variables()}
    command += [
        "--file",
        str(DEPLOY / "compose.yaml"),
        "--env-file",
        str(environment),
        "config",
        "--format",
        "json",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=inherited)


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    filled = tmp_path / ".env"
    filled.write_text("".join(f"{name}=secret1\n" for name in variables()), encoding="utf-8")
    read = configured(filled)
    services = json.loads(read.stdout)["services"]
    assert services.keys() == SERVICES.keys()
    assert services["server"]["environment"]["TOKENSIEVE_API_KEY"] == "secret1"
    assert services["worker"]["command"] == SERVICES["worker"]["command"]


def test_compose_refuses_an_empty_password(tmp_path: Path) -> None:
    read = configured(DEPLOY / ".env.example")
    assert read.stdout == ""
    assert "set it in deploy/.env" in read.stderr


def test_every_variable_is_in_the_example_file() -> None:
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT)) == set(variables())
    assert set(variables().values()) == {""}
    for password in re.findall(r"//postgres:([^@]*)@", TEXT):
        assert password == "${POSTGRES_PASSWORD}"


def test_ports_are_published_on_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "ports" not in SERVICES["postgres"]


def test_services_wait_for_healthy_dependencies() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped"
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other], f"{name} waits for {other}"
    for name in ("mlflow", "prefect"):
        _, _, _, program = SERVICES[name]["healthcheck"]["test"]
        compile(program, name, "exec")


def test_built_and_mounted_paths_exist() -> None:
    targets = re.findall(
        r"^FROM \S+ AS (\w+)", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for service in SERVICES.values():
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
            assert service["build"]["target"] in targets
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (
                (DEPLOY / source).exists()
                if source.startswith(".")
                else source in yaml.safe_load(TEXT)["volumes"]
            )


def test_the_worker_deploys_all_deployments_on_its_project(tmp_path: Path) -> None:
    script: str = SERVICES["worker"]["command"][2]
    assert "$" not in script  # Compose would replace it
    (line,) = (line for line in script.splitlines() if line.startswith("sed "))
    made = tmp_path / "prefect.yaml"
    subprocess.run(line.replace("/tmp/prefect.yaml", str(made)), shell=True, cwd=DEPLOY.parent, check=True)
    assert "deploy --all --prefect-file /tmp/prefect.yaml" in script
    expected = yaml.safe_load((DEPLOY / "prefect.yaml").read_text(encoding="utf-8"))
    for deployment in expected["deployments"]:
        deployment["parameters"]["project"] = "/project"
    assert yaml.safe_load(made.read_text(encoding="utf-8")) == expected


def test_server_container_is_read_only() -> None:
    server = SERVICES["server"]
    assert server["read_only"]
    assert server["cap_drop"] == ["ALL"]
    assert server["security_opt"] == ["no-new-privileges:true"]
