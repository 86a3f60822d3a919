"""What a sweep tries: the values of `--grid` and the numbers of `--seeds`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError, excerpt
from tokensieve.settings import Settings, assigned

SECTIONS = ("base", "vocabulary", "mask", "schedule", "finetune")  # what training depends on
MACHINE = ("finetune.device", "finetune.threads", "finetune.processes")  # how fast it is, and no more
LOG_FROM = 10  # a range whose end is at least this many times its start is searched on a log scale
# LOW..HIGH. Paths contain two dots as well.
RANGE = re.compile(r"([-+0-9.eE]+?)\.\.([-+0-9.eE]+)")

Changes = tuple[str, ...]
"""Settings that differ from the project's, each as section.key=value."""


@dataclass(frozen=True)
class Choices:
    """A setting and its values, as text."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """A setting of numbers and the bounds of its values. Only a search draws from it."""

    key: str
    low: float
    high: float
    is_whole: bool

    @property
    def is_log(self) -> bool:
        return self.low > 0 and self.high >= LOG_FROM * self.low


Space = tuple[Choices | Range, ...]


def read_space(params: Path, grid: Sequence[str], searches: bool) -> Space:
    """Return the values of `--grid`, each checked against the settings in `params`.

    Args:
        params: The project's settings.
        grid: Entries of the form section.key=value,value or section.key=low..high.
        searches: Whether ranges are allowed.

    Raises:
        InputError: If an entry has another form, or if a setting or a value is not allowed.
    """
    space = tuple(_read_entry(params, entry, searches) for entry in grid)
    keys = [values.key for values in space]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise InputError(f"--grid names {twice[0]} twice; give all its values at once: {twice[0]}=A,B")
    return space


def combinations(space: Space) -> list[Changes]:
    """Return every combination of the values; one without changes if the space is empty."""
    return list(
        product(*([f"{values.key}={value}" for value in values.values] for values in space))  # type: ignore[union-attr]
    )


def settings_of(params: Path, changes: Changes, seed: int) -> Settings:
    """Return the project's settings with `changes` and the random seed `seed`.

    Raises:
        InputError: If the changes exclude each other.
    """
    return assigned(params, [*changes, f"data.seed={seed}"], "--grid")


def present(params: Path, space: Space) -> dict[str, Any] | None:
    """Return the project's own value of each setting; None if one is not among those of `space`."""
    settings = assigned(params, ())
    found = {}
    for values in space:
        value = value_of(settings, values.key)
        if isinstance(values, Range):
            inside = value is not None and values.low <= value <= values.high
            found[values.key] = value
        else:
            same = [
                text
                for text in values.values
                if value_of(assigned(params, [f"{values.key}={text}"]), values.key) == value
            ]
            inside = bool(same)
            found[values.key] = same[0] if same else None
        if not inside:
            return None
    return found


def value_of(settings: Settings, key: str) -> Any:
    """Return the value of the setting section.key."""
    section, _, name = key.partition(".")
    return getattr(getattr(settings, section), name)


def read_seeds(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as 0-4,7, sorted.

    Raises:
        InputError: If it has another form.
    """
    seeds: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InputError(f"--seeds is {excerpt(text)}; use numbers and ranges, for example 0-4 or 0,3,7")
        seeds.update(range(first, last + 1))
    return tuple(sorted(seeds))


def _read_entry(params: Path, entry: str, searches: bool) -> Choices | Range:
    key, equals, text = (part.strip() for part in entry.partition("="))
    if not (equals and text and "." in key):
        raise InputError(
            f"--grid {excerpt(entry)} is not of the form section.key=value,value, "
            "for example mask.budget=0.05,0.1"
        )
    bounds = RANGE.fullmatch(text)
    texts = list(bounds.groups()) if bounds else [value.strip() for value in text.split(",")]
    for value in texts:
        if not value:
            raise InputError(f"--grid {excerpt(entry)} has an empty value; separate values by one comma")
        assigned(params, [f"{key}={value}"], "--grid")
    section = key.partition(".")[0]
    if section not in SECTIONS or key in MACHINE:
        seeds = "use --seeds for the seed; " if key == "data.seed" else ""
        raise InputError(
            f"--grid {key}: this setting does not change what is trained; {seeds}"
            f"sections that do: {', '.join(SECTIONS)} (without {', '.join(MACHINE)})"
        )
    if not bounds:
        return Choices(key, tuple(dict.fromkeys(texts)))
    return _read_range(params, key, texts, searches)


def _read_range(params: Path, key: str, texts: list[str], searches: bool) -> Range:
    ends = [value_of(assigned(params, [f"{key}={value}"]), key) for value in texts]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if not numbers or not ends[0] < ends[1]:
        raise InputError(f"--grid {key}={'..'.join(texts)} is not a range; use {key}=LOW..HIGH with numbers")
    if not searches:
        raise InputError(
            f"--grid {key}={'..'.join(texts)} is a range; list its values, or search it with --trials N"
        )
    return Range(key, ends[0], ends[1], is_whole=isinstance(ends[0], int))
