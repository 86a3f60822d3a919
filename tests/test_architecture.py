"""The architecture: one-way imports, one vendor per module, and one place for each fact."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tokensieve.project import Layout
from tokensieve.settings import Settings, render, sections

ROOT = Path(__file__).parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
VENDORS = {
    "great_expectations": {"tasks/validate.py"},
    "mlflow": {"tasks/mlflow_client.py", "tasks/log_run.py", "tasks/register.py"},
    "dvc": {"tasks/dvc_repo.py", "tasks/dvc_pipeline.py"},
    "matplotlib": {"tokensieve/evaluation/plots.py"},
    "prometheus_client": {"tokensieve/server/prometheus.py"},
}


def imports(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).glob("**/*.py"))


def test_imports_go_one_way() -> None:
    forbidden = {
        "tokensieve": {"tasks", "flows", "prefect", "mlflow", "dvc", "great_expectations", "pandas"},
        "tasks": {"flows"},
    }
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package, names in forbidden.items()
        for path in modules(package)
        for name in imports(path) & names
        if path.parent.name not in ("cli", "registry")  # until both are divided
    ]
    assert wrong == []


@pytest.mark.parametrize("vendor", VENDORS)
def test_one_vendor_one_file(vendor: str) -> None:
    users = {
        str(path.relative_to(ROOT))
        for package in ("tokensieve", "tasks", "flows")
        for path in modules(package)
        if vendor in imports(path)
    }
    assert users == VENDORS[vendor]


def test_prediction_and_serving_import_nothing_heavy() -> None:
    names = "tokensieve.inference.predictor, tokensieve.server.app, tokensieve.registry.models, tokensieve.cli.main"
    program = f"import sys, {names}; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "transformers", "mlflow", "prefect", "dvc", "pandas", "great_expectations"} & set(
        loaded
    )


def test_the_pipelines_stages_are_those_that_have_a_function() -> None:
    from tasks.stage import STAGES, function_of

    assert list(PIPELINE) == list(STAGES)
    for name in STAGES:
        assert PIPELINE[name]["cmd"] == f"tokensieve stage {name}"
        assert callable(function_of(name))


def test_the_pipelines_parameters_are_settings() -> None:
    for name, stage in PIPELINE.items():
        for parameter in stage["params"]:
            section, _, key = parameter.partition(".")
            assert section in sections(), f"{name}: {parameter}"
            assert not key or key in {spec.name for spec in fields(sections()[section])}, (
                f"{name}: {parameter}"
            )


def test_every_setting_is_some_stages_parameter() -> None:
    named = {parameter for stage in PIPELINE.values() for parameter in stage["params"]}
    lost = [
        f"{section}.{spec.name}"
        for section, kind in sections().items()
        for spec in fields(kind)
        if section not in named and f"{section}.{spec.name}" not in named
    ]
    assert lost == []


def test_what_a_stage_reads_is_raw_data_or_another_stages_output() -> None:
    made = {Path("data/raw"), Path("data/champion.json"), Path("data/base.json")}
    for name, stage in PIPELINE.items():
        for dependency in map(Path, stage["deps"]):
            assert any(dependency == output or output in dependency.parents for output in made), (
                f"{name} reads {dependency}"
            )
        made |= {Path(output if isinstance(output, str) else next(iter(output))) for output in stage["outs"]}


def test_the_pipelines_paths_are_the_layouts() -> None:
    layout = Layout(Path())
    known = {value for name in dir(Layout) if isinstance(value := getattr(layout, name), Path)}
    for name, stage in PIPELINE.items():
        outputs = [output if isinstance(output, str) else next(iter(output)) for output in stage["outs"]]
        for path in map(Path, [*stage["deps"], *outputs]):
            assert path in known or known & set(path.parents) - {Path()}, f"{name}: {path}"


def test_params_yaml_is_the_rendered_defaults() -> None:
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == render()
    assert Settings.load(ROOT / "params.yaml") == Settings()
