"""Our packages found by their place: a user's own `tasks.py` or folder `flows` may come before them on Python's path.

As a program, `python -P -m tokensieve.packages MODULE ARGUMENTS` runs a module as `python -m` does, with our packages.
"""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("tasks", "flows")


def pin() -> None:
    """Load our packages from beside this one, so that whoever imports them later gets these."""
    for name in PACKAGES:
        file = ROOT / name / "__init__.py"
        loaded = sys.modules.get(name)
        if loaded and loaded.__file__ and Path(loaded.__file__) == file:
            continue
        spec = spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
        assert spec and spec.loader
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of ours in another process, whatever its working directory and PYTHONPATH hold."""
    return [sys.executable, "-P", "-m", "tokensieve.packages", module, *arguments]


def main() -> int:
    """Run `tokensieve` as the installed command does."""
    pin()
    status: int = import_module("tokensieve.cli.main").main()
    return status


if __name__ == "__main__":
    pin()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
