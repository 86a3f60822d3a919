"""The identity of a project in a registry: its id, and the name of its registered model.

The id stays the same if the folder of the project moves.
"""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none, write_json
from tokensieve.project import Layout
from tokensieve.registry.store import SQLITE, tracking_uri
from tokensieve.settings import Settings

FALLBACK = "classifier"  # for a folder whose name has no letter or digit
MAX_CHARACTERS = 100  # of a model's name that is made from a folder's name

log = logging.getLogger("tokensieve")


@dataclass(frozen=True)
class Identity:
    """A project's id (empty before its first run) and the name of its registered model."""

    project: str
    model: str


def identity(layout: Layout, settings: Settings) -> Identity:
    """Return the id in data/project.json and the model's name. Nothing is written.

    The name is `register.name`. If that is null, it is the name from the project's first run: the
    name of an earlier registration, otherwise the folder's name. A copy of a project in the same
    registry has no id yet.
    """
    if _original(layout, settings):
        return Identity("", settings.register.name or model_name(layout.root.resolve().name))
    kept = _read(layout.project)
    model = kept.get("model") or _registered_name(layout) or model_name(layout.root.resolve().name)
    return Identity(kept.get("project", ""), settings.register.name or model)


def given_identity(layout: Layout, settings: Settings) -> Identity:
    """Return the project's identity.

    For a new project, or a copy of one, a new identity is written into data/project.json.

    Raises:
        InputError: If the project is a copy, and `register.name` is the model of its original.
    """
    known, original = identity(layout, settings), _original(layout, settings)
    if original and known.model == _registered_name(Layout(original)):
        raise InputError(
            f"this project is a copy of {original}, and register.name gives both the model '{known.model}'; "
            f"use --set register.name={model_name(layout.root.resolve().name)}, or another name"
        )
    if not known.project:
        folder = model_name(layout.root.resolve().name)
        known = Identity(f"{folder}-{secrets.token_hex(4)}", known.model)
        layout.project.parent.mkdir(parents=True, exist_ok=True)
        model = known.model if settings.register.name is None else folder
        write_json(layout.project, {"project": known.project, "model": model})
    if original:
        log.warning(
            "this project is a copy of %s: it is a project of its own from now on, with model '%s' in the "
            "registry",
            original,
            known.model,
        )
    here = {"folder": str(layout.root.resolve())}
    if _read(layout.place) != here:
        layout.place.parent.mkdir(parents=True, exist_ok=True)
        write_json(layout.place, here)
    return known


def is_own_registry(layout: Layout, uri: str) -> bool:
    """Return whether the registry is an SQLite file inside the project.

    It then moves with the project, and is copied with it.
    """
    return uri.startswith(SQLITE) and layout.root.resolve() in Path(uri.removeprefix(SQLITE)).parents


def model_name(folder: str) -> str:
    """Return a name for a registered model from the name of a folder.

    Characters that are not allowed are replaced by hyphens.
    """
    cleaned = re.sub(r"[^\w.-]+", "-", folder)
    return re.sub(r"^[\W_]+|[\W_]+$", "", cleaned)[:MAX_CHARACTERS] or FALLBACK


def _original(layout: Layout, settings: Settings) -> Path | None:
    """Return the folder that this project is a copy of.

    If it is not a copy, or has a registry of its own, return None. A moved project is not a copy,
    because its former folder does not exist any more.
    """
    before = _read(layout.place).get("folder")
    if before is None or is_own_registry(layout, tracking_uri(layout, settings)):
        return None
    other = Layout(Path(before))
    project = _read(layout.project).get("project")
    if not project or _read(other.project).get("project") != project or other.root.samefile(layout.root):
        return None
    return other.root


def _registered_name(layout: Layout) -> str | None:
    """Return the name of the model that a project registered last."""
    return _read(layout.registration / "registration.json").get("name")


def _read(path: Path) -> dict[str, str]:
    """Return the texts in a JSON object. Empty if the file is missing or damaged."""
    tree = read_json_or_none(path)
    items = tree.items() if isinstance(tree, dict) else ()
    return {key: value for key, value in items if isinstance(value, str)}
