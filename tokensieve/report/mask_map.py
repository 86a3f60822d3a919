"""The trained share of each weight matrix, by layer."""

from __future__ import annotations

from collections.abc import Mapping

from tokensieve.evaluation.module_names import layer_and_module
from tokensieve.report.content import MaskMap

# What the names of the matrices of known families mean; others are shown as they are.
SHORT = ("attention", "self", "layer", "mlp", "dense", "lin")


def mask_map(modules: Mapping[str, tuple[int, int]], unit: str) -> MaskMap | None:
    """Return the map of a mask; None if it is empty.

    Args:
        modules: The selected and all rows, columns or entries, by module name.
        unit: What is selected: rows, columns or entries.
    """
    if not modules:
        return None
    places = {name: layer_and_module(name) for name in modules}
    layers = sorted({layer for layer, _ in places.values()})
    columns = list(dict.fromkeys(module for _, module in places.values()))
    found = {places[name]: chosen / of for name, (chosen, of) in modules.items() if of}
    chosen, of = (sum(counts) for counts in zip(*modules.values(), strict=True))
    return MaskMap(
        modules=tuple(map(_short, columns)),
        layers=tuple(f"layer {layer}" if layer >= 0 else "other" for layer in layers),
        shares=tuple(tuple(found.get((layer, module)) for module in columns) for layer in layers),
        note=f"{chosen:,} of {of:,} {unit} are trained ({chosen / of:.1%}). Layers not shown are frozen.",
    )


def _short(module: str) -> str:
    """Return the part of a module's name that tells it apart: attention.self.query is query."""
    parts = module.split(".")
    kept = [part for part in parts if part not in SHORT] or parts[-1:]
    inside = "attention " if parts[0] == "attention" and kept == ["output"] else ""
    return inside + ".".join(kept)
