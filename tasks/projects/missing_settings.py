"""Settings that are no longer in params.yaml although a stage of dvc.yaml names them."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from tokensieve.errors import InputError
from tokensieve.files import write_text
from tokensieve.project import Layout
from tokensieve.settings import Settings, render
from tokensieve.unique_keys import Loader

log = logging.getLogger("tokensieve")


def write_missing_settings(layout: Layout) -> None:
    """Write the defaults of settings that dvc.yaml names and params.yaml lacks into params.yaml.

    DVC refuses a stage whose parameter is missing. Without its name in dvc.yaml, the stage would
    count as current, although it ran with another value of the setting.
    """
    text = layout.params.read_text(encoding="utf-8")
    try:
        tree = yaml.load(text, Loader) or {}
        stages = yaml.safe_load(layout.pipeline.read_text(encoding="utf-8"))["stages"]
        missing = _missing(_names(stages), tree)
        complete = render(Settings.of(tree, layout.params.name)) if missing else text
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, InputError):
        return  # the command that reads the file reports what is wrong with it
    if not missing:
        return
    added = _with_defaults(text, missing)
    sections = {**tree, **{name: {**(tree.get(name) or {}), **missing[name]} for name in missing}}
    # In a file of unusual layout the comments become those of `render`, as with --set.
    write_text(layout.params, added if _parsed(added) == sections else complete)
    log.info(
        "%s has the defaults of %s now, because %s names them",
        layout.params.name,
        ", ".join(f"{section}.{key}" for section, values in missing.items() for key in values),
        layout.pipeline.name,
    )


def _names(stages: Mapping[str, Any]) -> list[str]:
    """Return the parameters in params.yaml that the stages name."""
    params = [stage.get("params") or [] for stage in stages.values() if isinstance(stage, dict)]
    return [name for names in params for name in names if isinstance(name, str)]


def _missing(names: Iterable[str], tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the defaults, by section, of the settings among `names` that `tree` lacks.

    The name of a section stands for its settings only if the section is missing.
    """
    defaults = yaml.safe_load(render())
    missing: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(names):
        section, dot, key = name.partition(".")
        if dot and key in defaults.get(section, {}) and key not in (tree.get(section) or {}):
            missing.setdefault(section, {})[key] = defaults[section][key]
        elif not dot and section in defaults and section not in tree:
            missing.setdefault(section, {}).update(defaults[section])
    return missing


def _with_defaults(text: str, missing: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of a params.yaml with the settings `missing` at the end of their sections."""
    lines = text.splitlines()
    for section, values in missing.items():
        rendered = _rendered(section, values)
        start = next((i for i, line in enumerate(lines) if re.match(rf"{section}:\s*(#.*)?$", line)), None)
        if start is None:
            lines += [*([""] if lines else []), f"{section}:", *(f"  {line}" for line in rendered)]
            continue
        after = range(start + 1, len(lines))
        end = next((i for i in after if re.match(r"[^\s#]", lines[i])), len(lines))
        last, indent = start, "  "
        for i in range(end - 1, start, -1):
            if setting := re.match(r"(\s+)\S", lines[i]):
                last, indent = max(last, i), setting[1]
        lines[last + 1 : last + 1] = [f"{indent}{line}" for line in rendered]
    return "\n".join(lines) + "\n"


def _rendered(section: str, keys: Collection[str]) -> list[str]:
    """Return the lines of a section's default settings, with their comments, not indented."""
    block = re.search(rf"^{section}:\n((?:  .*\n)+)", render(), re.MULTILINE)
    lines = [line.strip() for line in block[1].splitlines()] if block else []
    return [line for line in lines if line.partition(":")[0] in keys]


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
