"""Read YAML whose mappings have each key once.

YAML's parsers take the last value of a repeated key. So a section that is appended to params.yaml
would replace the one above without a word.
"""

from __future__ import annotations

from typing import Any

import yaml

MERGE = "<<"  # may be repeated: it is no key


class RepeatedKeyError(yaml.YAMLError):
    """A mapping has a key twice. The message has both lines."""


class UniqueKeys:
    """Part of a YAML loader: refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node.

        Raises:
            RepeatedKeyError: If a key is repeated.
        """
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == MERGE:
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                before = first[key.value]
                raise RepeatedKeyError(
                    f"line {line} repeats the key {key.value!r} of line {before}; write each key once"
                )
            first[key.value] = line
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)  # type: ignore[misc]
        return mapping


class FastLoader(UniqueKeys, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """By libyaml, in a tenth of the time. It accepts some tabs that YAML refuses."""


class Loader(UniqueKeys, yaml.SafeLoader):
    """By PyYAML. Its errors show the line."""
