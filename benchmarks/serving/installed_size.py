"""Measure the installed size of the `serve` extra, and check that it installs no training packages.

    python -m benchmarks.serving.installed_size

Installs the wheel into an empty environment, as deploy/Dockerfile does, and writes
benchmarks/results/installed_size.json. Needs a package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "installed_size.json"
LIMIT = 400.0  # MB
ABSENT = (  # packages that the server must not need
    "torch",
    "transformers",
    "mlflow",
    "prefect",
    "dvc",
    "great_expectations",
    "pandas",
)


def main() -> int:
    """Install, measure and write the figures.

    Return status 1 if the size or the packages are not as promised.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        venv.create(environment, with_pip=True)
        empty = megabytes(environment)
        install(environment, Path(folder) / "wheels")
        # Check that all packages for the start of the command are installed.
        run(environment / "bin/tokensieve", "serve", "--help")
        (site,) = environment.glob("lib/*/site-packages")
        packages = {path.name: megabytes(path) for path in site.iterdir()}
        total = megabytes(environment)
    largest = dict(sorted(packages.items(), key=lambda item: -item[1])[:8])
    figures = {
        "megabytes": round(total, 1),
        "of_an_empty_environment": round(empty, 1),
        "limit": LIMIT,
        "largest": {name: round(size, 1) for name, size in largest.items()},
    }
    RESULT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))
    unwanted = [name for name in ABSENT if name in packages]
    for name in unwanted:
        print(f"{name} is installed, but the server must not need it")
    return int(bool(unwanted) or total > LIMIT)


def install(environment: Path, wheels: Path) -> None:
    """Build the wheel of this checkout and install it with the `serve` extra."""
    run(sys.executable, *["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"], wheels, ROOT)
    (wheel,) = wheels.glob("*.whl")
    command = ["-m", "pip", "install", "--quiet", "--no-cache-dir", "--constraint"]
    wanted = f"tokensieve[serve] @ {wheel.as_uri()}"
    run(environment / "bin/python", *command, ROOT / "constraints.txt", wanted)


def megabytes(path: Path) -> float:
    """Return the size on disk of a file or folder in units of 2**20 bytes, as du counts it."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(file.lstat().st_blocks for file in files) * 512 / 2**20


def run(*command: str | Path) -> None:
    """Run a command. Its output is discarded."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
