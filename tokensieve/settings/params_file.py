"""All settings of a project, read from `params.yaml` and rendered into it."""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from tokensieve.errors import InputError, did_you_mean, excerpt
from tokensieve.files import check_no_conflict_markers
from tokensieve.settings import inputs
from tokensieve.settings import sections as section
from tokensieve.settings.declaration import Section, allowed_text
from tokensieve.settings.renamed import log_renamed, renamed
from tokensieve.unique_keys import FastLoader, Loader, RepeatedKeyError


@dataclass(frozen=True)
class Settings:
    """All sections. `Settings.load` reads `params.yaml`; missing settings have their defaults."""

    base: inputs.Base = field(default_factory=inputs.Base)
    data: inputs.Data = field(default_factory=inputs.Data)
    validate: section.Validate = field(default_factory=section.Validate)
    split: section.Split = field(default_factory=section.Split)
    vocabulary: section.Vocabulary = field(default_factory=section.Vocabulary)
    mask: section.Mask = field(default_factory=section.Mask)
    schedule: section.Schedule = field(default_factory=section.Schedule)
    finetune: section.Finetune = field(default_factory=section.Finetune)
    evaluate: section.Evaluate = field(default_factory=section.Evaluate)
    export: section.Export = field(default_factory=section.Export)
    register: section.Register = field(default_factory=section.Register)
    gate: section.Gate = field(default_factory=section.Gate)

    @classmethod
    def of(cls, tree: Mapping[str, Any], source: str = "settings") -> Settings:
        """Return the settings from values by section and key.

        `source` is the name of their origin in messages. Missing settings have their defaults.

        Raises:
            InputError: If a section or key is unknown, or a value has the wrong type or range.
        """
        tree, found = renamed(tree, source)
        log_renamed(source, found)
        kinds = sections()
        built: dict[str, Any] = {}
        for name, values in tree.items():
            if name not in kinds:
                raise InputError(
                    f"{source}: unknown section {excerpt(name)}. {did_you_mean(str(name), kinds)}"
                    f"Sections: {', '.join(kinds)}"
                )
            if not isinstance(values, Mapping):
                raise InputError(f"{source}: section '{name}' is {excerpt(values)}; use keys and values")
            known = [spec.name for spec in fields(kinds[name])]
            for key in values:
                if key not in known:
                    raise InputError(
                        f"{source}: unknown setting '{name}.{key}'. {did_you_mean(str(key), known)}"
                        f"Settings of {name}: {', '.join(known)}"
                    )
            try:
                built[name] = kinds[name](**values)
            except InputError as error:
                raise InputError(f"{source}: {error}") from None
        return cls(**built)

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Return the settings of a `params.yaml`.

        Raises:
            InputError: If the file is missing or not valid YAML, or if `of` raises it.
        """
        return cls.of(parse(path), path.name)


def sections() -> dict[str, type[Section]]:
    """Return the section classes by name, in the order of the pipeline."""
    return {spec.name: typing.get_type_hints(Settings)[spec.name] for spec in fields(Settings)}


def parse(path: Path) -> dict[str, Any]:
    """Return the sections and values of a `params.yaml`, unchecked.

    Raises:
        InputError: If the file is missing or not valid YAML.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        tree = _load(text)
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; create a project with default settings: tokensieve init {path.parent}"
        ) from None
    except RepeatedKeyError as error:
        raise InputError(f"{path.name}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, thousands of digits, month 13
        check_no_conflict_markers(path, text)
        raise InputError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree or {}, dict):
        raise InputError(f"{path.name} is {excerpt(tree)}; use sections with keys and values")
    return tree or {}


def _load(text: str) -> Any:
    """Parse with libyaml, in a tenth of the time: a run reads the file about 40 times.

    PyYAML's own parser shows the line of an error, and refuses tabs where libyaml accepts some.
    """
    if "\t" not in text:
        with contextlib.suppress(yaml.YAMLError):
            return yaml.load(text, FastLoader)
    return yaml.load(text, Loader)


def render(settings: Settings | None = None) -> str:
    """Return the text of a `params.yaml`: every setting with a comment and its allowed values.

    If `settings` is None, the values are the defaults.
    """
    lines = []
    for name, kind in sections().items():
        lines.append(f"{name}:")
        for spec in fields(kind):
            value = spec.default if settings is None else getattr(getattr(settings, name), spec.name)
            assert value is not MISSING
            allowed = f" ({allowed_text(spec.metadata)})" if allowed_text(spec.metadata) else ""
            lines.append(f"  {spec.name}: {value_text(value)}  # {spec.metadata['about']}{allowed}")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def value_text(value: Any) -> str:
    """Return the value of a setting as a `params.yaml` has it."""
    return _list(value) if isinstance(value, tuple) else _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        # YAML quotes a text only if it would otherwise be read as another value. The width keeps
        # the text on one line.
        style = None if value.isprintable() else '"'
        return yaml.safe_dump([value], default_style=style, allow_unicode=True, width=2**31)[2:-1]
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def _list(values: tuple[str, ...]) -> str:
    dumped = yaml.safe_dump(list(values), default_flow_style=True, allow_unicode=True, width=2**31)
    return str(dumped).strip()
