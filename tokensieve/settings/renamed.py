"""Accept settings and values that had another name in an earlier version, for one release."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

from tokensieve.errors import InputError

log = logging.getLogger("tokensieve")

SHOWN = 3  # renamed settings that a message names

NEW_NAMES = {
    "data.text": "data.text_column",
    "data.label": "data.label_column",
    "data.separator": "data.label_separator",
    "validate.min_examples": "validate.min_examples_per_class",
    "vocabulary.constructs": "vocabulary.max_constructs",
    "vocabulary.ngram": "vocabulary.max_words",
    "vocabulary.min_count": "vocabulary.min_texts",
    "vocabulary.extend": "vocabulary.new_tokens",
    "mask.shape": "mask.unit",
    "mask.frozen": "schedule.frozen_layers",
    "mask.head": "schedule.head_epochs",
    "mask.open": "schedule.all_layer_epochs",
    "mask.cut": "schedule.top_layers_from",
    "mask.distance": "schedule.far_task_ratio",
    "finetune.epochs": "finetune.max_epochs",
    "finetune.steps": "finetune.max_steps",
    "finetune.batch": "finetune.batch_size",
    "finetune.steps_per_epoch": "finetune.min_steps_per_epoch",
    "evaluate.folds": "evaluate.calibration_folds",
    "export.tolerance": "export.max_logit_difference",
    "export.agreement": "export.min_confident_agreement",
    "export.loss": "export.max_accuracy_drop",
}

NEW_VALUES = {"mask.score": {"tokens": "construct_fisher", "positions": "fisher"}}

# Every setting is in `params.yaml`, so an old default in it was not chosen by the user. The new
# default replaces it.
OLD_DEFAULTS = {"export.agreement": 0.995, "export.loss": 0.003}


def renamed(tree: Mapping[str, Any], source: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings under their present names, and the new name or value of each old one.

    `source` is the name of their origin in messages.

    Raises:
        InputError: If a setting is present under its old and its new name.
    """
    current: dict[str, Any] = {
        name: dict(values) if isinstance(values, Mapping) else values for name, values in tree.items()
    }
    found = {}
    for old, new in NEW_NAMES.items():
        section, key = old.split(".")
        if not isinstance(current.get(section), dict) or key not in current[section]:
            continue
        value = current[section].pop(key)
        new_section, new_key = new.split(".")
        target = current.setdefault(new_section, {})
        if isinstance(target, dict):
            if new_key in target:
                raise InputError(f"{source}: {old} is now {new}, and both are set; remove {old}")
            if OLD_DEFAULTS.get(old) != value:
                target[new_key] = value
        found[old] = new
    for key, values in NEW_VALUES.items():
        section, name = key.split(".")
        chosen = current[section].get(name) if isinstance(current.get(section), dict) else None
        if isinstance(chosen, str) and chosen in values:
            current[section][name] = values[chosen]
            found[f"{key}={chosen}"] = f"{key}={values[chosen]}"
    return current, found


def log_renamed(source: str, found: Mapping[str, str]) -> None:
    """Log a warning about old names, in one line, once per process."""
    if found:
        pairs = [f"{old} is now {new}" for old, new in found.items()]
        more = f", and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        _warn_once(f"{source}: {', '.join(pairs[:SHOWN])}{more}")


@functools.cache
def _warn_once(line: str) -> None:
    log.warning(line)
