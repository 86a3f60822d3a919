"""Stage split: the validated raw data dealt to train, validation and test."""

from __future__ import annotations

import logging
import sys

from tokensieve.data.examples import PARTS, Examples, part_files, read_part, rows
from tokensieve.data.labels import class_names
from tokensieve.data.split import check_trainable, split_examples
from tokensieve.files import atomic_folder, read_json, write_json
from tokensieve.project import Layout
from tokensieve.settings import Settings

log = logging.getLogger("tokensieve")

DEALT_BY = "hash"


def split(layout: Layout, settings: Settings) -> None:
    """Write the parts as JSONL, the labels, and the numbers of rows."""
    _warn_if_the_split_changes(layout)
    parts = {name: read_part(path, name, settings.data)[0] for name, path in part_files(layout.raw).items()}
    dealt, dropped = split_examples(
        parts, settings.split, settings.data.seed, settings.data.shots, settings.data.label_separator
    )
    check_trainable(dealt, settings.data.label_separator)
    with atomic_folder(layout.split) as folder:
        for name, examples in dealt.items():
            examples.save(folder / f"{name}.jsonl")
        write_json(folder / "labels.json", class_names(dealt["train"].labels, settings.data.label_separator))
        write_json(
            folder / "report.json",
            {name: len(examples) for name, examples in dealt.items()}
            | {"dropped": dropped, "dealt_by": DEALT_BY},
        )


def _warn_if_the_split_changes(layout: Layout) -> None:
    """Warn once that texts change their parts, if the last run was by a version that drew the parts anew each time."""
    path = layout.split / "report.json"
    drawn = {"validation", "test"} - part_files(layout.raw).keys()
    if drawn and path.exists() and read_json(path).get("dealt_by") != DEALT_BY:
        log.warning(
            "The split changes, this once: from now on a text's part follows from its hash, and stays while the data change. "
            "Figures of earlier versions are of other test texts, some of which are now trained on."
        )


def load_labels(layout: Layout, name: str) -> list[str]:
    """The labels of a part, without its texts: 8 bytes a text."""
    return [sys.intern(str(values[0])) for _, values in rows(layout.split / f"{name}.jsonl", ["label"])]


def load_part(layout: Layout, name: str) -> Examples:
    """A part that `split` wrote; empty if the data has none of that name."""
    assert name in PARTS
    path = layout.split / f"{name}.jsonl"
    return Examples.load(path) if path.exists() else Examples()
