"""`--set section.key=value`: settings that a command changes in `params.yaml`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from tokensieve.errors import InputError, excerpt
from tokensieve.files import write_text
from tokensieve.settings.base_model import stored_base_model
from tokensieve.settings.declaration import value_types
from tokensieve.settings.params_file import Settings, parse, render, sections, value_text
from tokensieve.settings.renamed import log_renamed, renamed

log = logging.getLogger("tokensieve")


def assigned(path: Path, assignments: Sequence[str], option: str = "--set") -> Settings:
    """Return the settings of a `params.yaml` after `assignments`. The file is not written.

    If the file does not exist, the assignments apply to the defaults. A folder as `base.model`,
    relative to the current directory, becomes one that is found from any directory.
    `option` is the option that has them, for messages.

    Raises:
        InputError: If an assignment is not of the form section.key=value, or if a setting or a
            value is not allowed.
    """
    before = Settings.of(parse(path) if path.exists() else {}, path.name)
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise InputError(
                f"{option} {excerpt(assignment)} is not of the form section.key=value, "
                "for example finetune.max_epochs=5"
            )
        changes.setdefault(section, {})[key] = text
    changes, found = renamed(changes, option)
    log_renamed(option, found)
    tree = asdict(before)
    for section, values in changes.items():
        for key, text in values.items():
            tree.setdefault(section, {})[key] = _value(section, key, text)
    if "model" in changes.get("base", {}):
        tree["base"]["model"] = stored_base_model(changes["base"]["model"], path.parent)
    return Settings.of(tree, option)


def changed(path: Path, assignments: list[str]) -> dict[str, tuple[Any, Any]]:
    """Write assignments into a `params.yaml`, and return the settings that they change.

    The result has the old and the new value of each of them, by section.key. Comments in the file
    become those of `render`. If no setting changes, the file is not written.

    Raises:
        InputError: If `assigned` raises it, or if the file does not exist. Nothing is written then.
    """
    before, after = Settings.load(path), assigned(path, assignments)
    differing = {
        f"{section}.{key}": (value, getattr(getattr(after, section), key))
        for section, values in asdict(before).items()
        for key, value in values.items()
        if value != getattr(getattr(after, section), key)
    }
    if differing:
        write_text(path, render(after))
    return differing


@contextmanager
def tried(path: Path, assignments: list[str]) -> Iterator[None]:
    """Write assignments into a `params.yaml`, run the block, and restore the file if it fails.

    After an interrupt the assignments stay, because the same command then continues.

    Raises:
        InputError: If `changed` raises it, or the block does.
    """
    before = path.read_text(encoding="utf-8") if assignments and path.exists() else ""
    differing = changed(path, assignments) if assignments else {}
    for key, (old, new) in differing.items():
        log.info("%s: %s = %s (was %s)", path.name, key, value_text(new), value_text(old))
    after = path.read_text(encoding="utf-8") if differing else ""
    try:
        yield
    except Exception:
        # If somebody has changed the file in the meantime, that change is kept.
        if differing and path.read_text(encoding="utf-8") == after:
            _restore(path, before, differing)
        raise


def _restore(path: Path, before: str, differing: Mapping[str, tuple[Any, Any]]) -> None:
    """Write the file as it was. If the disk is full, only warn: the first error matters more."""
    try:
        write_text(path, before)
    except OSError as error:
        log.warning(
            "%s still has the new %s: it cannot be written (%s)",
            path.name,
            ", ".join(differing),
            error.strerror,
        )
        return
    undone = ", ".join(f"{key} is {value_text(old)} again" for key, (old, _) in differing.items())
    log.warning("%s: %s, because this command failed", path.name, undone)


def _value(section: str, key: str, text: str) -> Any:
    kind = sections().get(section)
    allowed_types = value_types(kind).get(key, ()) if kind else ()
    is_list = tuple[str, ...] in allowed_types and text.strip().startswith("[")
    if str in allowed_types and not is_list:
        return None if text == "null" and type(None) in allowed_types else text
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: thousands of digits, month 13
        return text
