"""Stage split: the validated raw data dealt to train, validation and test."""

from __future__ import annotations

from tokensieve.dataset import PARTS, Examples, part_files, read_examples
from tokensieve.folder import replaced, write_json
from tokensieve.layout import Layout
from tokensieve.settings import Settings
from tokensieve.splits import deal, refuse_untrainable


def split(layout: Layout, settings: Settings) -> None:
    """Write the parts as JSONL, the labels, and the numbers of rows."""
    parts = {
        name: read_examples(path, settings.data.text, None if name == "oos" else settings.data.label)
        for name, path in part_files(layout.raw).items()
    }
    dealt, dropped = deal(parts, settings.split, settings.data.seed, settings.data.shots)
    refuse_untrainable(dealt)
    with replaced(layout.split) as folder:
        for name, examples in dealt.items():
            examples.save(folder / f"{name}.jsonl")
        write_json(folder / "labels.json", sorted(set(dealt["train"].labels)))
        write_json(folder / "report.json", {name: len(examples) for name, examples in dealt.items()} | {"dropped": dropped})


def load_part(layout: Layout, name: str) -> Examples:
    """A part that `split` wrote; empty if the data has none of that name."""
    assert name in PARTS
    path = layout.split / f"{name}.jsonl"
    return Examples.load(path) if path.exists() else Examples()
