"""Stage split: divide the validated examples into train, validation and test."""

from __future__ import annotations

import logging
from dataclasses import asdict

from tasks.artifacts import SplitSizes, TextFacts, save_class_names
from tokensieve.data import examples as saved
from tokensieve.data.examples import Examples
from tokensieve.data.label_names import prepare_labels
from tokensieve.data.labels import class_names
from tokensieve.data.raw_data import PARTS, drop_unlabelled, find_part_files, read_raw_once
from tokensieve.data.split import check_trainable, split_examples
from tokensieve.files import atomic_folder, read_json, write_json
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.text_rule import TextRule

log = logging.getLogger("tokensieve")

SPLIT_BY = "hash"  # in the report; earlier versions drew the parts at random in each run


def split(layout: Layout, settings: Settings) -> None:
    """Write the parts as JSON Lines, the class names, the sizes and a report.

    Raises:
        InputError: If the data cannot be read, or no model can be trained on them
            (`check_trainable`).
    """
    _warn_if_the_split_changes(layout)
    files = find_part_files(layout.raw)
    parts = {
        name: examples if name == "oos" else drop_unlabelled(examples, settings.data, files[name])[0]
        for name, examples in read_raw_once(files, settings.data, layout.parsed).checked().items()
    }
    parts = prepare_labels(parts, settings.data).parts
    divided, dropped = split_examples(parts, settings.split, settings.data.seed, settings.data.shots)
    check_trainable(divided)
    with atomic_folder(layout.split) as folder:
        for name, examples in divided.items():
            examples.save(folder / f"{name}.jsonl")
        save_class_names(folder, class_names(divided["train"].labels))
        SplitSizes(**{name: len(examples) for name, examples in divided.items()}).save(folder)
        if settings.data.text_rule != TextRule():
            TextFacts(**asdict(settings.data.text_rule)).save(folder)
        write_json(
            folder / "report.json",
            {name: len(examples) for name, examples in divided.items()}
            | {"dropped": dropped, "dealt_by": SPLIT_BY},
        )


def _warn_if_the_split_changes(layout: Layout) -> None:
    """Warn once that texts move to other parts, if an earlier version drew the parts at random."""
    path = layout.split / "report.json"
    drawn = {"validation", "test"} - find_part_files(layout.raw).keys()
    if drawn and path.exists() and read_json(path).get("dealt_by") != SPLIT_BY:
        log.warning(
            "The split changes this time: from now on the part of a text follows from its hash and stays "
            "when the data change. Earlier figures were measured on other test texts, "
            "some of which are training texts now."
        )


def load_labels(layout: Layout, name: str) -> tuple[list[tuple[str, ...]], bool]:
    """Return the labels of a part (8 bytes per text), and whether they are multi-label."""
    return saved.load_labels(layout.split / f"{name}.jsonl", _separator(layout))


def load_text_rule(layout: Layout) -> TextRule:
    """Return how rows became the texts that `split` wrote."""
    known = (layout.split / TextFacts.NAME).exists()
    return TextRule(**asdict(TextFacts.load(layout.split))) if known else TextRule()


def load_part(layout: Layout, name: str) -> Examples:
    """Return a part that `split` wrote. It is empty if the data have no part of that name."""
    assert name in PARTS
    path = layout.split / f"{name}.jsonl"
    return Examples.load(path, _separator(layout)) if path.exists() else Examples()


def _separator(layout: Layout) -> str | None:
    """Return the label separator in the files of split that an earlier version wrote."""
    return Settings.load(layout.params).data.label_separator if layout.params.exists() else None
