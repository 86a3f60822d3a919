"""Check the script that tries the images, without a container engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPT = DEPLOY / "try_images.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_file_location("try_images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_uses_the_images_and_services_of_the_compose_file(script: Any) -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    built = {
        service["build"]["target"]: service["image"] for service in services.values() if "build" in service
    }
    assert built == script.IMAGES
    assert set(script.SERVICES) == set(services) - {"postgres"}
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    assert set(script.SOURCES) < set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_without_podman_it_names_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("podman and podman-compose not found; install podman")


def test_an_encoder_that_the_containers_cannot_read_is_one_line(script: Any, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir(mode=0o755)

    def refused() -> str:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "--encoder", str(encoder)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": str(tmp_path)},
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        return line

    assert refused() == f"{encoder} is not the folder of an encoder: it has no config.json"
    (encoder / "config.json").write_text("{}", encoding="utf-8")
    (encoder / "config.json").chmod(0o600)
    line = refused()
    assert line == f"{encoder}/config.json cannot be read in a container; run: chmod -R o+rX {encoder}"
    (encoder / "config.json").chmod(0o644)
    (encoder / "model.safetensors").symlink_to(tmp_path / "gone")
    assert refused().startswith(f"{encoder}/model.safetensors is a link to a file that does not exist")
    (encoder / "model.safetensors").unlink()
    assert script.unreadable(encoder) == ""


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ("CapEff:\t0000000000000000\nNoNewPrivs:\t1", True),
        ("CapEff:\t0000000000000400\nNoNewPrivs:\t1", False),
        ("CapEff:\t0000000000000000\nNoNewPrivs:\t0", False),
    ],
)
def test_a_container_with_capabilities_is_an_error(
    script: Any, monkeypatch: pytest.MonkeyPatch, status: str, allowed: bool
) -> None:
    answers = {"id": "10001", "grep": status, "touch /trial": "no", "touch": "yes"}

    def inside(service: str, command: str) -> str:
        return next(answer for start, answer in answers.items() if command.startswith(start))

    monkeypatch.setattr(script, "inside", inside)
    if allowed:
        assert ("user of server", "10001") in script.examine("server")
    else:
        with pytest.raises(RuntimeError, match="capabilities"):
            script.examine("server")
    answers["id"] = "0"
    with pytest.raises(RuntimeError, match="runs as root"):
        script.examine("worker")
