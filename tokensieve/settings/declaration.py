"""Declare settings, and check their values."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tokensieve.errors import InputError, excerpt

# YAML 1.1 reads 1e-3 as text, but repr() writes small numbers this way.
EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")

TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    among: tuple[str, ...] = (),
    pattern: tuple[str, str] | None = None,
) -> Any:
    """Declare a setting: a field of a dataclass.

    Args:
        default: The default value.
        about: The comment in `params.yaml`.
        low, high: The lowest and the highest allowed number.
        among: The allowed texts.
        pattern: A regular expression for the allowed texts, and its description for users.
    """
    return field(
        default=default,
        metadata={"about": about, "low": low, "high": high, "among": among, "pattern": pattern},
    )


@dataclass(frozen=True)
class Section:
    """The base class of the sections. Types and ranges are checked when a section is made."""

    def __post_init__(self) -> None:
        types_by_name = value_types(type(self))
        for spec in fields(self):
            key = f"{type(self).__name__.lower()}.{spec.name}"
            value = _checked(key, getattr(self, spec.name), types_by_name[spec.name], spec.metadata)
            object.__setattr__(self, spec.name, value)


def value_types(section: type[Section]) -> dict[str, tuple[Any, ...]]:
    """Return the allowed types of each setting of a section, by its name."""
    hints = typing.get_type_hints(section)
    return {
        name: typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        for name, hint in hints.items()
    }


def allowed_text(limits: Mapping[str, Any]) -> str:
    """Return a description of the allowed values; empty if the type is the only limit."""
    low, high = limits["low"], limits["high"]
    if limits["pattern"]:
        return str(limits["pattern"][1])
    if limits["among"] or low is None:
        return ", ".join(limits["among"])
    return f"at least {low}" if high is None else f"{low} to {high}"


def _checked(key: str, value: Any, allowed_types: tuple[Any, ...], limits: Mapping[str, Any]) -> Any:
    """Return `value` in the type of the setting.

    Raises:
        InputError: If its type or value is not allowed.
    """
    if value is None and type(None) in allowed_types:
        return None
    allowed = f" (allowed: {allowed_text(limits)})" if allowed_text(limits) else ""
    quotes = " in quotes" if str in allowed_types and not limits["among"] else ""
    if isinstance(value, int) and abs(value) >= 10**18:
        # float() and, from 4,301 digits on, str() would fail.
        remedy = f"; use text{quotes}" if quotes else ""
        raise InputError(f"{key} is a number of more than 18 digits{remedy}{allowed}")
    if tuple[str, ...] in allowed_types and not (str in allowed_types and isinstance(value, str)):
        return _checked_list(key, value, allowed_types, limits["among"], allowed)
    value = _as_float(value) if float in allowed_types else value
    plain = [kind for kind in allowed_types if kind != tuple[str, ...]]
    if not any(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) for kind in plain):
        wanted = " or ".join(f"{TYPE_NAMES[kind]}{quotes if kind is str else ''}" for kind in plain)
        raise InputError(f"{key} is {excerpt(value)}; use {wanted}{allowed}")
    if isinstance(value, str) and not value.strip():
        raise InputError(f"{key} is empty; use text{allowed}")
    _refuse_outside(key, value, limits, allowed)
    return value


def _as_float(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole or (isinstance(value, str) and EXPONENT.fullmatch(value)) else value


def _checked_list(
    key: str, value: Any, allowed_types: tuple[Any, ...], among: tuple[str, ...], allowed: str
) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        wanted = f"a list, for example [{', '.join(among[:2])}]" if among else "text in quotes"
        raise InputError(f"{key} is {excerpt(value)}; use {wanted}{allowed}")
    for item in value:
        if (among and item not in among) or not isinstance(item, str) or not item.strip():
            raise InputError(f"{key} contains {excerpt(item)}{allowed or '; use texts in quotes'}")
    if repeated := next((item for item in value if str in allowed_types and value.count(item) > 1), None):
        raise InputError(f"{key} has {excerpt(repeated)} {value.count(repeated)} times; name it once")
    if str in allowed_types and len(value) < 2:
        raise InputError(f"{key} is a list of {len(value)}; use text, or a list of different texts")
    return tuple(value)


def _refuse_outside(key: str, value: Any, limits: Mapping[str, Any], allowed: str) -> None:
    if limits["among"] and value not in limits["among"]:
        raise InputError(f"{key} is {excerpt(value)}{allowed}")
    if limits["pattern"] and not re.fullmatch(limits["pattern"][0], value):
        raise InputError(f"{key} is {excerpt(value)}{allowed}")
    low, high = limits["low"], math.inf if limits["high"] is None else limits["high"]
    # NaN fails every comparison, so it is outside every range.
    if low is not None and not low <= value <= high:
        raise InputError(f"{key} is {value:g}{allowed}")
