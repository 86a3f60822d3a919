"""Import our packages `tasks` and `flows` by their location.

A `tasks.py` or a folder `flows` of the user may precede them on Python's path.
`python -P -m tokensieve.packages MODULE ARGUMENTS` runs a module as `python -m` does, with our
packages.
"""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent
PACKAGES = ("tasks", "flows")


def pin() -> None:
    """Load our packages from the folder that contains this package. Later imports then get them."""
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


def module(name: str) -> ModuleType:
    """Return a module of our packages, imported by name.

    The library uses it to find what the pipeline adds, because it never depends on the
    pipeline's code.
    """
    pin()
    return import_module(name)


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs one of our modules in another process.

    It works with any working directory and PYTHONPATH.
    """
    return [sys.executable, "-P", "-m", "tokensieve.packages", module, *arguments]


def main() -> int:
    """Run the command line."""
    status: int = module("tokensieve.cli.main").main()
    return status


if __name__ == "__main__":
    pin()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
