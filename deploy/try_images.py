"""Build the three images, start the services of compose.yaml from them, and use them once.

    make images      or      python deploy/try_images.py --encoder FOLDER

Needs podman and podman-compose, and the ports 4200, 5000 and 8000. The deployments nightly and
promote run in the worker's container. Then the server is asked, and its container is examined. At
the end all containers and volumes of this trial are removed; the images stay.

Environment variables for a machine that cannot pull images or reach the public package index:
PYTHON_IMAGE, POSTGRES_IMAGE (images that are there), PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, and
BUILD_OPTIONS (more options for podman build).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "deploy" / "compose.yaml"
PROJECT = "tokensieve-trial"
IMAGES = {"serve": "tokensieve", "mlflow": "tokensieve-mlflow", "pipeline": "tokensieve-pipeline"}
BUILD_ARGUMENTS = ("PYTHON_IMAGE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
SOURCES = (*BUILD_ARGUMENTS, "POSTGRES_IMAGE")
SERVICES = ("mlflow", "prefect", "worker", "server")
KEY = "trial"
TEXT = "box is stuck at customs for xray"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # 127.0.0.1 is not behind a proxy

Row = tuple[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--encoder", type=Path, help="folder of a pretrained encoder; by default it is downloaded"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="settings of the project"
    )
    parser.add_argument("--no-build", action="store_true", help="use the images of the last build")
    options = parser.parse_args()
    if options.encoder and (fault := unreadable(options.encoder)):
        print(fault, file=sys.stderr)
        return 2
    missing = [name for name in ("podman", "podman-compose") if not shutil.which(name)]
    if missing:
        print(
            f"{' and '.join(missing)} not found; install podman, and pip install podman-compose",
            file=sys.stderr,
        )
        return 2
    rows = [] if options.no_build else build()
    rows += [(f"size of {name}", f"{size(name) / 1e6:,.0f} MB") for name in IMAGES.values()]
    with tempfile.TemporaryDirectory() as scratch:
        environment = Path(scratch) / ".env"
        values = {name: os.environ.get(name, "") for name in SOURCES}
        values |= {"POSTGRES_PASSWORD": "trial", "TOKENSIEVE_API_KEY": KEY}
        environment.write_text(
            "".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8"
        )
        try:
            make_project(options.encoder, options.set)
            rows += use(environment)
        finally:
            compose(environment, "down", "--volumes")
            # Not made by podman-compose, so it does not remove it.
            podman("volume", "rm", "--force", f"{PROJECT}_project", read=True)
    print("\n| what | result |\n|---|---|")
    print("\n".join(f"| {name} | {result} |" for name, result in rows))
    return 0


def unreadable(encoder: Path) -> str:
    """Return what hinders the user of the containers from reading a folder. Empty: nothing does.

    That user is none of this machine's, so it has the rights of others.
    """
    if not (encoder / "config.json").exists():
        return f"{encoder} is not the folder of an encoder: it has no config.json"
    for path in (encoder, *sorted(encoder.rglob("*"))):
        if not path.exists():
            return f"{path} is a link to a file that does not exist; name a folder with all files"
        needed = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & needed != needed:
            return f"{path} cannot be read in a container; run: chmod -R o+rX {shlex.quote(str(encoder))}"
    return ""


def build() -> list[Row]:
    """Build the images. Return the seconds that each took."""
    rows = []
    given = [f"{name}={os.environ[name]}" for name in BUILD_ARGUMENTS if os.environ.get(name)]
    arguments = [word for pair in given for word in ("--build-arg", pair)]
    for target, name in IMAGES.items():
        began = time.monotonic()
        extra = shlex.split(os.environ.get("BUILD_OPTIONS", ""))
        command = ["build", "--file", str(ROOT / "deploy" / "Dockerfile"), "--target", target, "--tag", name]
        podman(*command, *arguments, *extra, str(ROOT))
        rows.append((f"build of {name}", f"{time.monotonic() - began:.0f} s"))
    return rows


def size(image: str) -> int:
    """Return the bytes of an image."""
    return int(podman("image", "inspect", "--format", "{{.Size}}", image, read=True))


def make_project(encoder: Path | None, settings: list[str]) -> None:
    """Make the project in its volume, as the worker does.

    With `encoder`, a copy of it is the base model.
    """
    volume = f"{PROJECT}_project:/project"
    mount = ["--volume", f"{encoder.resolve()}:/encoder:ro"] if encoder else []
    chosen = ["register.name=classifier", *(["base.model=/project/encoder"] if encoder else []), *settings]
    init = shlex.join(
        ["tokensieve", "init", "/project", *(word for pair in chosen for word in ("--set", pair))]
    )
    copy = "cp -r /encoder /project/encoder && " if encoder else ""
    podman("run", "--rm", "--volume", volume, *mount, IMAGES["pipeline"], "sh", "-c", copy + init)


def use(environment: Path) -> list[Row]:
    """Start the services, run the deployments, ask the server. Return what was found."""
    began = time.monotonic()
    compose(environment, "up", "--no-build", "--detach")
    rows = []
    for name, url in (
        ("mlflow", "http://127.0.0.1:5000/health"),
        ("prefect, with its page", "http://127.0.0.1:4200/"),
    ):
        rows.append((f"start of {name}", wait(began, lambda url=url: get(url))))
    rows.append(("start of worker", wait(began, lambda: "started!" in logs("worker"))))
    for flow in ("retrain/nightly", "promote/promote"):
        rows.append((f"deployment {flow}", run_deployment(flow)))
    promoted = time.monotonic()
    rows.append(("server, after the promotion", wait(promoted, lambda: get("http://127.0.0.1:8000/ready"))))
    podman("restart", "--time", "10", container("server"))
    restarted = time.monotonic()
    rows.append(("server, after a restart", wait(restarted, lambda: get("http://127.0.0.1:8000/ready"))))
    rows.append(("answer", predict()))
    return rows + [row for service in SERVICES for row in examine(service)]


def run_deployment(flow: str) -> str:
    """Run a deployment in the worker's container and wait for it.

    Raises:
        RuntimeError: If the run does not complete.
    """
    began = time.monotonic()
    shown = podman("exec", container("worker"), "prefect", "deployment", "run", flow, "--watch", read=True)
    if "Completed" not in shown:
        raise RuntimeError(f"{flow} did not complete:\n{shown}\n{logs('worker')}")
    return f"completed in {time.monotonic() - began:.0f} s"


def predict() -> str:
    """Return the server's answer to a text, in short."""
    request = urllib.request.Request(
        "http://127.0.0.1:8000/predict",
        data=json.dumps({"text": TEXT}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )
    with DIRECT.open(request, timeout=30) as response:
        tree = json.load(response)
    return f"{tree['label']}, probability {tree['probability']:.2f}, version {tree['version']}"


def examine(service: str) -> list[Row]:
    """Return which user a container has; of the server, also its rights and where it can write.

    Raises:
        RuntimeError: If it runs as root, or the server can do more than it should.
    """
    user = inside(service, "id -u")
    if user == "0":
        raise RuntimeError(f"{service} runs as root")
    rows = [(f"user of {service}", user)]
    if service == "server":
        status = inside(service, "grep -E 'CapEff|NoNewPrivs' /proc/1/status")
        if not re.search(r"CapEff:\s0+\n", status + "\n") or not re.search(r"NoNewPrivs:\s1", status):
            raise RuntimeError(f"the server has capabilities, or may get them:\n{status}")
        tried = {
            folder: inside(service, f"touch {folder}/trial 2>/dev/null && echo yes || echo no")
            for folder in ("", "/tmp", "/var/lib/tokensieve")
        }
        if list(tried.values()) != ["no", "yes", "yes"]:
            raise RuntimeError(f"the server can write elsewhere: {tried}")
        rows.append(("server: root file system", "read-only, except /tmp and /var/lib/tokensieve"))
        rows.append(("server: capabilities", "none, and no new privileges"))
    return rows


def inside(service: str, script: str) -> str:
    """Return what a shell script prints in a service's container."""
    return podman("exec", container(service), "sh", "-c", script, read=True).strip()


def wait(began: float, ready: Callable[[], object], seconds: float = 600) -> str:
    """Wait until `ready` returns something. Return the seconds since `began`.

    Raises:
        RuntimeError: If that takes too long.
    """
    while not ready():
        if time.monotonic() - began > seconds:
            raise RuntimeError("\n".join(f"{name}:\n{logs(name)}" for name in SERVICES))
        time.sleep(0.2)
    return f"{time.monotonic() - began:.1f} s"


def get(url: str) -> bool:
    """Return whether a URL responds."""
    try:
        with DIRECT.open(url, timeout=5):
            return True
    except OSError:
        return False


def container(service: str) -> str:
    return f"{PROJECT}_{service}_1"


def logs(service: str) -> str:
    return podman("logs", "--tail", "40", container(service), read=True)


def compose(environment: Path, *words: str) -> None:
    command = [
        "podman-compose",
        "--project-name",
        PROJECT,
        "--file",
        str(COMPOSE),
        "--env-file",
        str(environment),
    ]
    subprocess.run([*command, *words], check=True)


def podman(*words: str, read: bool = False) -> str:
    """Run podman. Return its output if `read`, otherwise show it."""
    done = subprocess.run(
        ["podman", *words],
        check=not read,
        text=True,
        stdout=subprocess.PIPE if read else None,
        stderr=subprocess.STDOUT if read else None,
    )
    return done.stdout or ""


if __name__ == "__main__":
    sys.exit(main())
