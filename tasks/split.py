"""Stage split: the validated raw data dealt to train, validation and test."""

from __future__ import annotations

import logging

from tasks.artifacts import SplitSizes, save_class_names
from tokensieve.data import examples as saved
from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names
from tokensieve.data.raw_data import PARTS, drop_unlabelled, find_part_files, read_raw_once
from tokensieve.data.split import check_trainable, split_examples
from tokensieve.files import atomic_folder, read_json, write_json
from tokensieve.project import Layout
from tokensieve.settings import Settings

log = logging.getLogger("tokensieve")

DEALT_BY = "hash"


def split(layout: Layout, settings: Settings) -> None:
    """Write the parts as JSONL, the labels, and the numbers of rows."""
    _warn_if_the_split_changes(layout)
    files = find_part_files(layout.raw)
    parts = {
        name: examples if name == "oos" else drop_unlabelled(examples, settings.data, files[name])[0]
        for name, examples in read_raw_once(files, settings.data, layout.parsed).checked().items()
    }
    dealt, dropped = split_examples(parts, settings.split, settings.data.seed, settings.data.shots)
    check_trainable(dealt)
    with atomic_folder(layout.split) as folder:
        for name, examples in dealt.items():
            examples.save(folder / f"{name}.jsonl")
        save_class_names(folder, class_names(dealt["train"].labels))
        SplitSizes(**{name: len(examples) for name, examples in dealt.items()}).save(folder)
        write_json(
            folder / "report.json",
            {name: len(examples) for name, examples in dealt.items()}
            | {"dropped": dropped, "dealt_by": DEALT_BY},
        )


def _warn_if_the_split_changes(layout: Layout) -> None:
    """Warn once that texts change their parts, if the last run was by a version that drew the parts anew each time."""
    path = layout.split / "report.json"
    drawn = {"validation", "test"} - find_part_files(layout.raw).keys()
    if drawn and path.exists() and read_json(path).get("dealt_by") != DEALT_BY:
        log.warning(
            "The split changes, this once: from now on a text's part follows from its hash, and stays while the data change. "
            "Figures of earlier versions are of other test texts, some of which are now trained on."
        )


def load_labels(layout: Layout, name: str) -> tuple[list[tuple[str, ...]], bool]:
    """Return the labels of a part, and whether they are multi-label, without its texts: 8 bytes per text."""
    return saved.load_labels(layout.split / f"{name}.jsonl", _separator(layout))


def load_part(layout: Layout, name: str) -> Examples:
    """Return a part that `split` wrote. It is empty if the data have no part of that name."""
    assert name in PARTS
    path = layout.split / f"{name}.jsonl"
    return Examples.load(path, _separator(layout)) if path.exists() else Examples()


def _separator(layout: Layout) -> str | None:
    """Return what joins the labels of a text in the files of split that an earlier version wrote."""
    return Settings.load(layout.params).data.label_separator if layout.params.exists() else None
