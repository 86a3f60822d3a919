"""The mask stage on a tiny project: what it writes for each shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.mask import mask
from tasks.vocabulary import vocabulary
from tokensieve.data.examples import Examples
from tokensieve.files import read_json, write_json
from tokensieve.method.mask import Mask
from tokensieve.project import Layout
from tokensieve.settings import Settings

LAYER = {"rows": 4 * 32 + 64 + 32, "columns": 4 * 32 + 32 + 64, "entries": 4 * 32 * 32 + 2 * 32 * 64}


@pytest.mark.parametrize("shape", ["rows", "columns", "entries", "layers"])
def test_the_report_has_the_number_of_selected_rows_by_layer(
    tiny_model: Path, tiny_texts: tuple[list[str], list[str]], tmp_path: Path, shape: str
) -> None:
    layout = Layout(tmp_path)
    layout.split.mkdir(parents=True)
    Examples.of(*tiny_texts).save(layout.split / "train.jsonl")
    write_json(layout.split / "labels.json", sorted(set(tiny_texts[1])))
    chosen = {"unit": shape, "budget": 0.25, "examples": 20}
    schedule = {"frozen_layers": 0.5, "top_layers_from": 0.5}
    settings = Settings.of(
        {
            "base": {"model": str(tiny_model), "max_length": 32},
            "mask": chosen,
            "schedule": schedule,
            "finetune": {"threads": 1},
        }
    )
    vocabulary(layout, settings)
    mask(layout, settings)

    found, report = Mask.load(layout.mask / "mask.safetensors"), read_json(layout.mask / "report.json")
    unit = "rows" if shape == "layers" else shape
    assert (report["shape"], report["unit"], found.shape) == (shape, unit, unit)
    counted = {i: sum(len(part) for name, part in found.indices.items() if f".{i}." in name) for i in (2, 3)}
    assert report["layers"] == [{"layer": i, "selected": counted[i], "of": LAYER[unit]} for i in (2, 3)]
    if shape == "layers":
        assert sorted(counted.values()) == [0, LAYER["rows"]]
    assert (layout.mask / "mask.png").read_bytes().startswith(b"\x89PNG")
