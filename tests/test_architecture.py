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
    "great_expectations": {"tasks/expectations.py"},
    "mlflow": {"tasks/tracking/mlflow_client.py", "tasks/tracking/log_run.py", "tasks/register.py"},
    "dvc": {"tasks/versioning/dvc_repo.py", "tasks/versioning/dvc_pipeline.py"},
    "matplotlib": {"tokensieve/evaluation/mask_plot.py", "tokensieve/evaluation/plots.py"},
    "prometheus_client": {"tokensieve/server/prometheus.py"},
    "jinja2": {"tokensieve/report/page.py"},
    "cleanlab": {"tasks/auditing/label_errors.py"},
    "optuna": {"tasks/sweeps/search.py"},
    "prefect_dask": {"flows/sweep_cells.py"},
}


# Each folder imports from folders further left only. Modules of tokensieve/ itself are "root", but
# fitting and the API.
LAYERS = (
    "root",
    "settings",
    "data",
    "inference",
    "model",
    "method",
    "training",
    "evaluation",
    "export",
    "monitoring",
    "audit",
    "report",
    "fitting",
    "tasks",
    "flows",
)
ABOVE = {  # what the two others may import
    "registry": {"root", "settings", "inference"},
    "server": {"root", "inference", "registry"},
    # Commands import what they need when they run, from any folder of the library.
    "cli": set(LAYERS[: LAYERS.index("tasks")]) | {"registry", "server"},
}
USES = {"fitting": {"registry"}, "tasks": {"registry"}, "flows": {"registry", "cli"}}
TOP = {"fitting", "api", "pyfunc", "__init__"}  # modules of tokensieve/ that import from folders
LIGHT = ("inference", "registry", "server", "cli")
HEAVY = {"torch", "transformers", "pandas", "mlflow", "prefect", "dvc", "great_expectations"}


def imported(path: Path, lazily: bool = True) -> set[str]:
    """Return the full names of all modules that a file imports, with `lazily` also those within
    functions.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if lazily else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports(path: Path) -> set[str]:
    """Return the top-level names of all modules that a file imports, anywhere in it."""
    return {name.split(".")[0] for name in imported(path)}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).glob("**/*.py"))


def folder_of(name: str) -> str | None:
    """Return the folder of a module of ours. None for a module of others."""
    first, *rest = name.split(".")
    if first in ("tasks", "flows"):
        return first
    if first != "tokensieve":
        return None
    if rest and (ROOT / "tokensieve" / rest[0]).is_dir():
        return rest[0]
    return "fitting" if rest and rest[0] in TOP else "root"


def test_imports_go_one_way() -> None:
    wrong = []
    for path in [path for package in ("tokensieve", "tasks", "flows") for path in modules(package)]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        own = folder_of(name)
        if name == "tokensieve.__init__":
            continue  # it imports others when they are needed; see the tests below
        allowed = ABOVE.get(own or "") or set(LAYERS[: LAYERS.index(own or "")]) | USES.get(own or "", set())
        found = {folder_of(other) for other in imported(path)} - {None, own}
        # Predictor.load downloads a model that is given as models:/NAME@ALIAS.
        found -= {"registry"} if name == "tokensieve.inference.predictor" else set()
        wrong += [f"{name} imports from {folder}" for folder in found - allowed]
    assert wrong == []


@pytest.mark.parametrize("folder", LIGHT)
def test_prediction_and_serving_import_nothing_heavy(folder: str) -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules(f"tokensieve/{folder}")
    ]
    # A command imports what it needs when it runs.
    paths = {name: ROOT / f"{name.replace('.', '/')}.py" for name in names}
    heavy = {
        name: {other.split(".")[0] for other in imported(path, lazily=folder != "cli")} & HEAVY
        for name, path in paths.items()
    }
    assert {name: found for name, found in heavy.items() if found} == {}
    program = (
        f"import sys, {', '.join(name.removesuffix('.__init__') for name in names)}; "
        "print(*sorted(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert HEAVY & set(loaded.split()) == set()


@pytest.mark.parametrize("flow", ["retrain", "promote", "rollback"])
def test_a_flow_imports_nothing_that_only_a_stage_needs(flow: str) -> None:
    """A run without a stale stage starts without PyTorch, scikit-learn and the like."""
    program = f"import sys, flows.{flow}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    heavy = HEAVY - {"prefect", "dvc"} | {"sklearn", "onnxruntime", "matplotlib"}
    assert heavy & set(loaded.split()) == set()


@pytest.mark.parametrize("vendor", VENDORS)
def test_one_vendor_one_file(vendor: str) -> None:
    users = {
        str(path.relative_to(ROOT))
        for package in ("tokensieve", "tasks", "flows")
        for path in modules(package)
        if vendor in imports(path)
    }
    assert users == VENDORS[vendor]


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
    named |= {"gate"}  # read at a promotion, which is no stage
    lost = [
        f"{section}.{spec.name}"
        for section, kind in sections().items()
        for spec in fields(kind)
        if section not in named and f"{section}.{spec.name}" not in named
    ]
    assert lost == []


def test_what_a_stage_reads_is_raw_data_or_another_stages_output() -> None:
    made = {Path("data/raw"), Path("data/champion.json"), Path("data/base.json"), Path("data/suite.json")}
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


def test_files_and_functions_are_short() -> None:
    """A file has at most 300 lines, and a function at most 45, its docstring included."""
    long = {}
    for folder in ("tokensieve", "tasks", "flows", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            sizes = {"": (len(text.splitlines()), 300)} | {
                f"{node.name}, line {node.lineno}": (node.end_lineno - node.lineno + 1, 45)
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
            }
            long |= {f"{path} {name}": lines for name, (lines, most) in sizes.items() if lines > most}
    assert long == {}
