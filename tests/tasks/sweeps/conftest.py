"""A project of sixty texts that is split and ready for a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.data.examples import Examples
from tokensieve.project import Layout
from tokensieve.settings import Settings, render

PLACES = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}


@pytest.fixture
def layout(tiny_model: Path, tiny_texts: tuple[list[str], list[str]], tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "project")
    layout.split.mkdir(parents=True)
    examples = Examples.of(*tiny_texts)
    for name, places in PLACES.items():
        part = examples.take([i for i in range(60) if i % 5 in places])
        part.save(layout.split / f"{name}.jsonl")
    small = {
        "finetune": {"max_epochs": 2},
        "schedule": {"frozen_layers": 0.5},
        "base": {"model": str(tiny_model), "max_length": 32},
    }
    layout.params.write_text(render(Settings.of(small)))
    return layout
