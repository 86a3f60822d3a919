"""The names of the modules of an encoder."""

from __future__ import annotations

import re


def layer_and_module(name: str) -> tuple[int, str]:
    """Return the number of the layer, and the name of the module within it.

    'encoder.layer.4.attention.self.query' gives (4, 'attention.self.query'). The number is -1 if
    the module is in no layer.
    """
    match = re.search(r"(?:^|\.)(\d+)\.", name)
    return (int(match[1]), name[match.end() :]) if match else (-1, name)
