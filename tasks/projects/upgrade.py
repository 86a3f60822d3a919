"""Changes to files of a project that an earlier version created.

Everything else in the files is kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tasks.projects.missing_settings import write_missing_settings
from tokensieve.errors import InputError
from tokensieve.files import write_text
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.settings.renamed import NEW_NAMES, NEW_VALUES, OLD_DEFAULTS, renamed
from tokensieve.unique_keys import Loader

log = logging.getLogger("tokensieve")


def rename_settings(layout: Layout) -> None:
    """Give the settings in params.yaml and dvc.yaml their present names.

    DVC looks up the names of dvc.yaml in params.yaml, so both files change together. After an
    interrupt between the two writes, the next call completes the change.
    """
    params, pipeline = (path.read_text(encoding="utf-8") for path in (layout.params, layout.pipeline))
    try:
        new_params, new_pipeline = _renamed_params(params), _renamed_pipeline(pipeline)
        tree = yaml.safe_load(new_params) or {}
        same = Settings.of(tree) == Settings.of(yaml.load(params, Loader) or {}, layout.params.name)
        complete = same and not renamed(tree, layout.params.name)[1]
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, InputError):
        return  # the command that reads the file reports what is wrong with it
    if not complete:
        log.warning("%s: rename its old settings by hand, because its layout is unusual", layout.params.name)
        return
    for path, before, after in (
        (layout.pipeline, pipeline, new_pipeline),
        (layout.params, params, new_params),
    ):
        if after != before:
            write_text(path, after)
            log.info("%s now uses the new names of settings", path.name)


def _renamed_params(text: str) -> str:
    """Rename the keys and values of a params.yaml line by line.

    Settings of a new section follow the old section.
    """
    blocks: dict[str, list[str]] = {"": []}
    moved: dict[str, str] = {}  # new section: the section that it follows
    section = ""
    for line in text.splitlines():
        if header := re.match(r"(\w+):\s*(#.*)?$", line):
            section = header[1]
            blocks.setdefault(section, [])
        setting = re.match(r"  (\w+):(.*)$", line)
        key = f"{section}.{setting[1]}" if setting else ""
        if not setting or (key not in NEW_NAMES and key not in NEW_VALUES):
            blocks[section].append(line)
            continue
        new_section, name = NEW_NAMES.get(key, key).split(".")
        if key in OLD_DEFAULTS and yaml.safe_load(setting[2]) == OLD_DEFAULTS[key]:
            continue
        if new_section not in blocks:
            blocks[new_section] = [f"{new_section}:"]
            moved[new_section] = section
        value = setting[2]
        for old, new in NEW_VALUES.get(f"{new_section}.{name}", {}).items():
            value = re.sub(rf"^(\s*['\"]?){old}\b", rf"\1{new}", value)
        _append(blocks[new_section], f"  {name}:{value}")
    return "\n".join(line for block in _ordered(blocks, moved) for line in block) + "\n"


def _append(block: list[str], line: str) -> None:
    """Append a setting to a section, before the blank lines at the section's end."""
    blank = len(block)
    while blank and not block[blank - 1].strip():
        blank -= 1
    block.insert(blank, line)


def _ordered(blocks: dict[str, list[str]], moved: dict[str, str]) -> Iterator[list[str]]:
    """Yield the sections in order, each new one after the section that its settings came from."""
    for section, block in blocks.items():
        if section in moved:
            continue
        followers = [blocks[new] for new, old in moved.items() if old == section]
        blank = [""] if followers and block[-1].strip() else []
        yield [*block, *blank]
        for follower in followers:
            yield [*follower, *([] if blank else [""])]


def _renamed_pipeline(text: str) -> str:
    """Rename the parameters of the stages in a dvc.yaml line by line."""
    before = [name for stage in yaml.safe_load(text)["stages"].values() for name in _names(stage)]
    old = not any(name.split(".")[0] == "schedule" for name in before)
    lines, inside = [], False
    for line in text.splitlines():
        if flow := re.match(r"(\s+params:\s*\[)(.*)(\].*)$", line):
            names = [name.strip() for name in flow[2].split(",")]
            lines.append(f"{flow[1]}{', '.join(_new_names(names, old))}{flow[3]}")
            continue
        item = re.match(r"(\s+-\s+)([\w.]+)(\s*(?:#.*)?)$", line) if inside else None
        inside = bool(item) or bool(re.match(r"\s+params:\s*$", line))
        lines += [f"{item[1]}{name}{item[3]}" for name in _new_names([item[2]], old)] if item else [line]
    return "\n".join(lines) + "\n"


def _names(stage: Any) -> list[str]:
    return [name for name in stage.get("params", []) if isinstance(name, str)]


def _new_names(names: list[str], old: bool) -> list[str]:
    """Return today's names of parameters.

    In an old pipeline the section `mask` contains today's `schedule`.
    """
    found = [NEW_NAMES.get(name, name) for name in names]
    if old and "mask" in found:
        found.insert(found.index("mask") + 1, "schedule")
    return list(dict.fromkeys(found))


def never_cached(pipeline: Path, stage: str) -> None:
    """Mark `stage` in dvc.yaml as always changed.

    Otherwise `dvc repro` could restore its outputs from DVC's run cache.
    """
    text = pipeline.read_text(encoding="utf-8")
    if yaml.safe_load(text)["stages"].get(stage, {}).get("always_changed"):
        return
    after = re.sub(
        rf"^(  {stage}:[ \t]*\n)", r"\1    always_changed: true\n", text, count=1, flags=re.MULTILINE
    )
    try:
        marked = yaml.safe_load(after)["stages"][stage].get("always_changed")
    except (yaml.YAMLError, LookupError, AttributeError):
        marked = False
    if not marked:
        log.warning(
            "%s: add 'always_changed: true' to stage %s, or dvc repro may take a registration from a cache",
            pipeline,
            stage,
        )
        return
    write_text(pipeline, after)
    log.info(
        "%s: stage %s is marked always_changed, so that dvc repro takes no registration from a cache",
        pipeline.name,
        stage,
    )


def add_stage(pipeline: Path, template: Path, stage: str) -> None:
    """Add a stage of the present dvc.yaml, `template`, to one that does not have it.

    It comes after the stage that it follows in `template`, or at the end.
    """
    text, whole = (path.read_text(encoding="utf-8") for path in (pipeline, template))
    if stage in yaml.safe_load(text)["stages"]:
        return
    block = _block(whole, stage)
    names = list(yaml.safe_load(whole)["stages"])
    before = names[names.index(stage) - 1]
    found = _block(text, before)
    after = text.replace(found, f"{found}\n{block}", 1) if found else f"{text.rstrip()}\n\n{block}"
    try:
        added = yaml.safe_load(after)["stages"][stage] == yaml.safe_load(whole)["stages"][stage]
    except (yaml.YAMLError, LookupError, TypeError):
        added = False
    if not added:
        raise InputError(
            f"{pipeline} has no stage {stage}, and its layout is unusual; add this to its stages:\n{block}"
        )
    write_text(pipeline, after)
    log.info("%s has the stage %s now", pipeline.name, stage)


def _block(text: str, stage: str) -> str:
    """Return the lines of a stage in a dvc.yaml, without blank lines at their end."""
    found = re.search(rf"^  {stage}:[^\n]*\n(?:(?:   [^\n]*)?\n)*", text, re.MULTILINE)
    return f"{found[0].rstrip()}\n" if found else ""


def complete_stages(layout: Layout, template: Path) -> None:
    """Give the stages in dvc.yaml the parameters and dependencies of `template` that they lack.

    Otherwise a stage does not run again if only a new setting changes. Stages with another command
    are the user's own and stay, and so does what the user added. A parameter is added when its
    setting is in params.yaml: DVC refuses one without. A setting that is then taken out gets its
    default. A dependency needs its file, or a stage that writes it.
    """
    write_missing_settings(layout)
    text, whole = (path.read_text(encoding="utf-8") for path in (layout.pipeline, template))
    try:
        settings = yaml.load(layout.params.read_text(encoding="utf-8"), Loader) or {}
        stages, wanted = dict(yaml.safe_load(text)["stages"]), yaml.safe_load(whole)["stages"]
    except (yaml.YAMLError, LookupError, TypeError, ValueError):
        return  # the command that reads the file reports what is wrong with it
    written = {out for stage in stages.values() for out in _outs(stage)}
    for name in wanted:
        own = stages.get(name)
        if not isinstance(own, dict) or own.get("cmd") != wanted[name]["cmd"]:
            continue
        lists = {
            "params": _completed_params(own.get("params") or [], wanted[name]["params"], settings),
            "deps": [
                *(own.get("deps") or []),
                *(
                    path
                    for path in wanted[name]["deps"]
                    if path not in (own.get("deps") or []) and (path in written or layout.at(path).exists())
                ),
            ],
        }
        for key, items in lists.items():
            if items != (own.get(key) or []):
                text = _with_list(layout.pipeline, text, name, key, items)
    if text != layout.pipeline.read_text(encoding="utf-8"):
        write_text(layout.pipeline, text)
        log.info("%s now has the new inputs of its stages", layout.pipeline.name)


def _outs(stage: Any) -> Iterator[str]:
    for out in stage.get("outs", []) if isinstance(stage, dict) else ():
        yield from out if isinstance(out, dict) else [out]


def _completed_params(own: list[Any], wanted: list[str], settings: Any) -> list[Any]:
    """Return the parameters of a stage: its own, and those of `wanted` that `settings` have."""
    added = []
    for name in wanted:
        section, _, key = name.partition(".")
        is_set = section in settings and (not key or key in (settings[section] or {}))
        if is_set and name not in own and section not in own:
            added.append(name)
    return [*own, *added]


def _with_list(path: Path, text: str, stage: str, key: str, items: list[Any]) -> str:
    """Return the text of a dvc.yaml with other `items` in a list of a stage.

    Comments and layout stay. If the layout is unusual, warn, and return the text as it is.
    """
    before = yaml.safe_load(text)
    block = _block(text, stage)
    changed = re.sub(
        rf"^( +{key}: *\[)[^\]\n]*(\].*)$",
        lambda found: f"{found[1]}{', '.join(map(str, items))}{found[2]}",
        block,
        count=1,
        flags=re.MULTILINE,
    )
    if changed == block:
        changed = re.sub(
            rf"^ +{key}: *(?:#.*)?\n((?: *(?:- .*|#.*)\n)+)",
            lambda found: _with_lines(found, items, before["stages"][stage][key]),
            block,
            count=1,
            flags=re.MULTILINE,
        )
    after = text.replace(block, changed, 1) if block else text
    before["stages"][stage][key] = items
    try:
        is_right = yaml.safe_load(after) == before
    except yaml.YAMLError:
        is_right = False
    if not is_right:
        log.warning(
            "%s: the %s of stage %s should be [%s]; change it by hand, because its layout is unusual",
            path.name,
            key,
            stage,
            ", ".join(map(str, items)),
        )
        return text
    return after


def _with_lines(found: re.Match[str], items: list[Any], before: list[Any]) -> str:
    """Return the text of a list with one item per line, for other `items`."""
    lines = found[0].splitlines()
    last = max(i for i, line in enumerate(lines) if line.lstrip().startswith("- "))
    indent = lines[last][: lines[last].index("-")]
    lines[last + 1 : last + 1] = [f"{indent}- {item}" for item in items if item not in before]
    removed = [str(item) for item in before if item not in items]
    kept = (line for line in lines if re.sub(r"^ *- |\s*(#.*)?$", "", line) not in removed)
    return "".join(f"{line}\n" for line in kept)
