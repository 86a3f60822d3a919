"""Import our packages `tasks` and `flows` by their location, not by Python's path.

A user may have a file `tasks.py` or a folder `flows` of their own, which comes first on the path.
`python -P -m tokensieve.packages MODULE ARGUMENTS` runs a module like `python -m`, and that module
imports our packages.
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
    """Import our packages from the folder that contains `tokensieve`. Later imports get them."""
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
    """Return the module `name` of our packages, imported if necessary.

    The library has no import of the pipeline. The few functions that need the pipeline, such as the
    command line, import it with this function when they are called.
    """
    pin()
    return import_module(name)


def command(module: str, *arguments: str) -> list[str]:
    """Return the arguments that run one of our modules in another process.

    They work in any working directory and with any PYTHONPATH.
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
