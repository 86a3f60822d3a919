"""Download packages with pip, from the index that it is set to use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tokensieve.errors import InputError


def pip_download(packages: Sequence[str], folder: Path) -> list[Path]:
    """Download `packages` into `folder` and return the wheels in the order of their names.

    Raises:
        InputError: If pip fails.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder)]
    if subprocess.run([*command, *packages], check=False).returncode:
        raise InputError(f"pip cannot download {', '.join(packages)}; its own message is above")
    return sorted(folder.glob("*.whl"))
