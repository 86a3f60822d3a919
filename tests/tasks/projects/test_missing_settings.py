from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tasks.projects.missing_settings import write_missing_settings
from tasks.projects.upgrade import complete_stages, rename_settings
from tokensieve.project import Layout
from tokensieve.settings import Settings, render

TEMPLATE = Path(__file__).parents[3] / "dvc.yaml"
CLEAN = next(line for line in render().splitlines() if line.startswith("  clean:"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A project with all settings and stages."""
    layout = Layout(tmp_path)
    layout.params.write_text(render(), encoding="utf-8")
    layout.pipeline.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    return layout


def written(layout: Layout, params: str) -> str:
    """Return what params.yaml contains after the missing settings were written into `params`."""
    layout.params.write_text(params, encoding="utf-8")
    write_missing_settings(layout)
    return layout.params.read_text(encoding="utf-8")


def test_a_complete_file_stays(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert written(layout, render()) == render()
    assert caplog.records == []


def test_a_setting_gets_its_default_at_the_end_of_its_section(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tokensieve")
    without = render().replace(f"{CLEAN}\n", "").replace("data:\n", "data:\n  # mine\n")
    after = written(layout, without)
    assert after == without.replace("\nvalidate:\n", f"{CLEAN}\n\nvalidate:\n")
    assert Settings.load(layout.params) == Settings()
    assert caplog.messages == ["params.yaml has the defaults of data.clean now, because dvc.yaml names them"]


def test_a_section_that_is_there_twice_is_not_rewritten(layout: Layout) -> None:
    """YAML keeps the second one, so all settings of the first would seem to be missing."""
    text = render().replace("seed: 0", "seed: 7", 1) + "\ndata:\n  shots: 5\n"
    layout.params.write_text(text, encoding="utf-8")
    rename_settings(layout)
    complete_stages(layout, TEMPLATE)
    assert layout.params.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("section", ["data", "evaluate", "export"])
def test_a_missing_section_gets_its_defaults(layout: Layout, section: str) -> None:
    tree = yaml.safe_load(render())
    del tree[section]
    after = written(layout, yaml.safe_dump(tree, sort_keys=False))
    assert yaml.safe_load(after) == yaml.safe_load(render())
    assert "#" in after


def test_only_what_the_stages_name_is_added(layout: Layout) -> None:
    layout.pipeline.write_text(
        "stages:\n  own:\n    cmd: wc\n    params: [mine, other.yaml: [x], data.clean, data.no, gate.x]\n"
        "  each:\n    foreach: [a]\n    do: {cmd: wc, params: [evaluate]}\n",
        encoding="utf-8",
    )
    assert written(layout, "data:\n    seed: 3 # mine\n# end\n") == (
        f"data:\n    seed: 3 # mine\n  {CLEAN}\n# end\n"
    )
    assert written(layout, "") == f"data:\n{CLEAN}\n"


def test_in_an_unusual_layout_the_file_is_written_anew(layout: Layout) -> None:
    tree = yaml.safe_load(render())
    del tree["data"]["clean"]
    tree["data"]["seed"] = 3
    assert written(layout, yaml.safe_dump(tree, default_flow_style=True)) == render(
        Settings.of({"data": {"seed": 3}})
    )


@pytest.mark.parametrize("params", ["data: [", "data:\n", "data: {no: 1}\n", "- data\n", "1\n"])
def test_a_file_with_faults_is_left_to_the_command_that_reads_it(layout: Layout, params: str) -> None:
    assert written(layout, params) == params
