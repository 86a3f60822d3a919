"""The benchmark runs without the pipeline's packages, so it must not import any of them."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FORBIDDEN = {"prefect", "mlflow", "dvc", "great_expectations", "pandas", "tasks", "flows"}
# They measure stages, so they need all of it.
OF_THE_PIPELINE = ("audit.py", "calibration.py", "gate.py", "openvino_int8.py", "variants.py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_no_orchestration_is_imported() -> None:
    files = sorted(path for path in BENCHMARKS.rglob("*.py") if path.name not in OF_THE_PIPELINE)
    assert files
    assert {str(path): found for path in files if (found := imported(path) & FORBIDDEN)} == {}


def test_a_vendor_stands_in_the_modules_that_need_it() -> None:
    users = {
        vendor: {
            str(path.relative_to(BENCHMARKS)) for path in BENCHMARKS.rglob("*.py") if vendor in imported(path)
        }
        for vendor in VENDORS
    }
    assert users == VENDORS


@pytest.mark.parametrize("name", ["SAMPLE", "RESULTS"])
def test_stored_files_are_where_the_studies_look_for_them(name: str) -> None:
    studies = [
        path.stem for path in (BENCHMARKS / "studies").glob("*.py") if f"{name} = " in path.read_text()
    ]
    assert studies
    for study in studies:
        assert getattr(importlib.import_module(f"benchmarks.studies.{study}"), name).exists(), study


VENDORS = {
    "matplotlib": {"plots.py"},
    "nncf": {"serving/openvino_int8.py"},
    "openvino": {"serving/openvino_int8.py"},
    "peft": {"methods/adapters.py"},
    "setfit": {"methods/setfit.py"},
    "sklearn": {
        "methods/frozen.py",
        "methods/linear.py",
        "methods/setfit.py",
        "methods/tfidf.py",
        "studies/baselines.py",
        "studies/calibration.py",
        "studies/out_of_scope.py",
    },
}
