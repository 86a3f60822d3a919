"""What a project is called in a registry: an id that stays when its folder moves, and the name of its registered model."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from tokensieve.files import read_json_or_none, write_json
from tokensieve.project import Layout
from tokensieve.settings import Settings

FALLBACK = "classifier"  # for a folder's name without a letter or digit
LONGEST = 100  # characters of a name made from a folder's


@dataclass(frozen=True)
class Identity:
    """A project's id (empty: it has none yet) and the name of its registered model."""

    project: str
    model: str


def identity(layout: Layout, settings: Settings) -> Identity:
    """Return the id in data/project.json and the model's name. Write nothing.

    The name is `register.name`. If that is null, it is the name that the project was given when it was first used: that of an
    earlier registration, else the folder's.
    """
    kept = _read(layout.project)
    model = (
        kept.get("model")
        or _read(layout.registration / "registration.json").get("name")
        or model_name(layout.root.resolve().name)
    )
    return Identity(kept.get("project", ""), settings.register.name or model)


def given_identity(layout: Layout, settings: Settings) -> Identity:
    """Return the project's identity. Write data/project.json if the project has none yet."""
    known = identity(layout, settings)
    if known.project:
        return known
    folder = model_name(layout.root.resolve().name)
    project = f"{folder}-{secrets.token_hex(4)}"
    layout.project.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        layout.project,
        {"project": project, "model": known.model if settings.register.name is None else folder},
    )
    return Identity(project, known.model)


def model_name(folder: str) -> str:
    """Return the name of a folder with the characters that a registered model may not have replaced."""
    cleaned = re.sub(r"[^\w.-]+", "-", folder)
    return re.sub(r"^[\W_]+|[\W_]+$", "", cleaned)[:LONGEST] or FALLBACK


def _read(path: Path) -> dict[str, str]:
    tree = read_json_or_none(path)
    return (
        {key: value for key, value in tree.items() if isinstance(value, str)}
        if isinstance(tree, dict)
        else {}
    )
