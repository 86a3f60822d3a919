from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tasks.projects.upgrade import add_stage, complete_stages, never_cached, rename_settings
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings, render

TEMPLATE = Path(__file__).parents[3] / "dvc.yaml"


def test_the_template_needs_nothing() -> None:
    before = TEMPLATE.read_text(encoding="utf-8")
    never_cached(TEMPLATE, "register")
    assert TEMPLATE.read_text(encoding="utf-8") == before


def test_a_pipeline_of_before_is_marked_once(tmp_path: Path) -> None:
    path, whole = tmp_path / "dvc.yaml", TEMPLATE.read_text(encoding="utf-8")
    before = whole.replace("    always_changed: true\n", "")
    path.write_text(before, encoding="utf-8")
    never_cached(path, "register")
    never_cached(path, "register")
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == yaml.safe_load(whole)
    assert path.read_text(encoding="utf-8").replace("    always_changed: true\n", "") == before


def test_a_pipeline_of_another_form_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dvc.yaml"
    for text in ("stages: {register: {cmd: tokensieve stage register}}\n", "stages:\n  other: {cmd: a}\n"):
        path.write_text(text, encoding="utf-8")
        never_cached(path, "register")
        assert path.read_text(encoding="utf-8") == text


def test_old_settings_and_parameters_get_their_new_names(moved_old_project: Path) -> None:
    layout = Layout(moved_old_project)
    before = layout.params.read_text(encoding="utf-8")
    settings = Settings.load(layout.params)
    layout.params.write_text(before.replace("data:\n", "data:\n  # my comment\n"), encoding="utf-8")

    rename_settings(layout)

    after = layout.params.read_text(encoding="utf-8")
    expected = yaml.safe_load(render(settings))
    # New settings, which the file need not have.
    del expected["base"]["prompt"], expected["validate"]["suite"], expected["gate"]
    for name in ("encoding", "id_column", "clean", "normalize_labels", "rare", "rare_below"):
        del expected["data"][name]
    assert yaml.safe_load(after) == expected
    assert "data:\n  # my comment\n  text_column: text  # column with the text\n" in after
    stages = yaml.safe_load(layout.pipeline.read_text(encoding="utf-8"))["stages"]
    template = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["stages"]
    for name, stage in template.items():
        if name == "audit":  # a stage that it need not have
            continue
        sections = {parameter.split(".")[0] for parameter in stage["params"]}
        assert {parameter.split(".")[0] for parameter in stages[name]["params"]} == sections


def test_present_names_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = Layout(tmp_path)
    layout.pipeline.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    layout.params.write_text(render(), encoding="utf-8")
    rename_settings(layout)
    assert layout.pipeline.read_text(encoding="utf-8") == TEMPLATE.read_text(encoding="utf-8")
    assert layout.params.read_text(encoding="utf-8") == render()
    assert caplog.records == []


def test_parameters_of_a_users_own_stage_are_renamed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.params.write_text("mask: # mine\n  score: 'tokens'\n  open: 0.5", encoding="utf-8")
    layout.pipeline.write_text(
        "stages:\n  own:\n    cmd: wc -l data\n    params:\n      - mask.open # mine\n      - mask\n"
        "    deps:\n      - data.text\n",
        encoding="utf-8",
    )
    rename_settings(layout)
    assert layout.params.read_text(encoding="utf-8") == (
        "mask: # mine\n  score: 'construct_fisher'\n\nschedule:\n  all_layer_epochs: 0.5\n"
    )
    assert yaml.safe_load(layout.pipeline.read_text(encoding="utf-8"))["stages"]["own"] == {
        "cmd": "wc -l data",
        "params": ["schedule.all_layer_epochs", "mask", "schedule"],
        "deps": ["data.text"],
    }


def test_settings_in_an_unusual_layout_are_left_to_the_user(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout, pipeline = Layout(tmp_path), "stages:\n  own:\n    params: [mask.open]\n"
    layout.pipeline.write_text(pipeline, encoding="utf-8")
    layout.params.write_text("mask: {open: 0.5}\n", encoding="utf-8")
    rename_settings(layout)
    assert layout.pipeline.read_text(encoding="utf-8") == pipeline
    assert "params.yaml: rename its old settings by hand" in caplog.text


def test_a_stage_that_a_project_lacks_is_added_where_it_belongs(tmp_path: Path) -> None:
    whole = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["stages"]
    path = tmp_path / "dvc.yaml"
    text = TEMPLATE.read_text(encoding="utf-8")
    start, end = text.index("  audit:"), text.index("  mask:")
    path.write_text(text[:start] + text[end:], encoding="utf-8")
    add_stage(path, TEMPLATE, "audit")
    assert path.read_text(encoding="utf-8") == text
    assert list(yaml.safe_load(path.read_text())["stages"]) == list(whole)
    add_stage(path, TEMPLATE, "audit")
    assert path.read_text(encoding="utf-8") == text


def test_an_old_pipeline_gets_the_stage_too(moved_old_project: Path) -> None:
    layout = Layout(moved_old_project)
    before = yaml.safe_load(layout.pipeline.read_text())["stages"]
    add_stage(layout.pipeline, TEMPLATE, "audit")
    after = yaml.safe_load(layout.pipeline.read_text())["stages"]
    assert after.keys() - before.keys() == {"audit"}
    assert {name: after[name] for name in before} == before


def test_an_unusual_pipeline_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("stages: {own: {cmd: 'true'}}\n")
    with pytest.raises(InputError, match="add this to its stages"):
        add_stage(path, TEMPLATE, "audit")
    assert path.read_text() == "stages: {own: {cmd: 'true'}}\n"


def stages_of(layout: Layout) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = yaml.safe_load(layout.pipeline.read_text("utf-8"))["stages"]
    return found


def test_new_parameters_come_with_their_settings_and_then_stay(moved_old_project: Path) -> None:
    layout = Layout(moved_old_project)
    rename_settings(layout)
    old, params = layout.pipeline.read_text(encoding="utf-8"), layout.params.read_text(encoding="utf-8")
    complete_stages(layout, TEMPLATE)
    before = stages_of(layout)
    assert "data.clean" not in before["validate"]["params"]  # params.yaml does not have it
    layout.params.write_text(params.replace("data:\n", "data:\n  clean: html\n"), encoding="utf-8")
    for _ in range(2):
        complete_stages(layout, TEMPLATE)
        after = stages_of(layout)
        assert after["validate"]["params"] == [*before["validate"]["params"], "data.clean"]
    assert {name: own for name, own in after.items() if name != "validate"} == {
        name: own for name, own in before.items() if name != "validate"
    }
    assert [line for line in old.splitlines() if "#" in line] == [
        line for line in layout.pipeline.read_text(encoding="utf-8").splitlines() if "#" in line
    ]
    layout.params.write_text(params, encoding="utf-8")
    complete_stages(layout, TEMPLATE)
    assert stages_of(layout) == after
    assert Settings.load(layout.params).data.clean == Settings().data.clean
    written = layout.params.read_text(encoding="utf-8").splitlines()
    assert [line for line in written if not line.startswith("  clean: none")] == params.splitlines()


def test_new_dependencies_come_if_something_writes_them(tmp_path: Path) -> None:
    layout, whole = Layout(tmp_path), TEMPLATE.read_text(encoding="utf-8")
    layout.params.write_text(render(), encoding="utf-8")
    start, end = whole.index("  audit:"), whole.index("  mask:")
    without = (whole[:start] + whole[end:]).replace("      - artifacts/audit\n", "")
    without = without.replace(", data/suite.json]", "]").replace(
        "      - artifacts/mask\n      - artifacts/model\n"
        "      - artifacts/evaluation\n    outs: [artifacts/onnx]",
        "      - artifacts/model # mine\n      - artifacts/evaluation\n    outs: [artifacts/onnx]",
    )
    layout.pipeline.write_text(without, encoding="utf-8")
    complete_stages(layout, TEMPLATE)
    found = stages_of(layout)
    assert "data/suite.json" not in found["validate"]["deps"]
    assert "artifacts/audit" not in found["register"]["deps"]
    assert found["export"]["deps"][-2:] == ["artifacts/evaluation", "artifacts/mask"]
    assert "      - artifacts/model # mine\n" in layout.pipeline.read_text(encoding="utf-8")
    layout.suite.parent.mkdir()
    layout.suite.write_text("{}", encoding="utf-8")
    add_stage(layout.pipeline, TEMPLATE, "audit")
    complete_stages(layout, TEMPLATE)
    wanted = yaml.safe_load(whole)["stages"]
    for name, own in stages_of(layout).items():
        for key in ("deps", "params"):
            assert sorted(own[key]) == sorted(wanted[name][key])


def test_what_the_user_changed_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = Layout(tmp_path)
    layout.params.write_text(
        "base:\n  model: a\ndata:\n  clean: html\n  seed: 1\nmine: 1\n", encoding="utf-8"
    )
    pipeline = (
        "stages:\n  validate:\n    cmd: python mine.py\n    params: [mine]\n"
        "  split:\n    cmd: tokensieve stage split\n"
        "    params:\n    # whole\n    - mine # own\n    - other.yaml:\n    deps: [mine.txt]\n"
        "  mask:\n    cmd: tokensieve stage mask\n"
        "    params: [\n      base,\n      mine]\n    deps: [mine.txt]\n"
    )
    layout.pipeline.write_text(pipeline, encoding="utf-8")
    complete_stages(layout, TEMPLATE)
    assert layout.pipeline.read_text(encoding="utf-8") == pipeline.replace(
        "    - other.yaml:\n", "    - other.yaml:\n    - data\n"
    )
    assert (
        "dvc.yaml: the params of stage mask should be [base, mine, data.seed]; change it by hand"
        in caplog.text
    )


def test_the_template_is_complete(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.params.write_text(render(), encoding="utf-8")
    layout.pipeline.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    complete_stages(layout, TEMPLATE)
    assert layout.pipeline.read_text(encoding="utf-8") == TEMPLATE.read_text(encoding="utf-8")
