"""Write the model card of an export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.reporting.gather import gather_model
from tokensieve.files import read_json
from tokensieve.inference.manifest import TOKENIZER, Manifest
from tokensieve.inference.prompt import prompt_of
from tokensieve.project import Layout
from tokensieve.registry.project_identity import identity
from tokensieve.report.model_card import NAME, CardData, model_card
from tokensieve.settings import Settings


def write_card(
    folder: Path, layout: Layout, settings: Settings, manifest: Manifest, race: Mapping[str, Any]
) -> None:
    """Write README.md beside an exported model. The manifest does not list it.

    Args:
        folder: The folder of the export.
        layout: The project.
        settings: Its settings.
        manifest: That of the export.
        race: The content of race.json.
    """
    name = identity(layout, settings).model
    measured = read_json(layout.evaluation / "report.json") | race["served"]
    prompt = prompt_of((folder / TOKENIZER).read_bytes())
    card = CardData(name, manifest.base, manifest.data_hash, measured, manifest.max_length, prompt)
    text = model_card(gather_model(layout, name, manifest, race), card)
    (folder / NAME).write_text(text, encoding="utf-8", errors="replace", newline="\n")
