"""The table of methods. A method is a function from a job to an outcome, and is not imported here.

`reads` are the settings that a method's result depends on, and `options` are its own constants.
Both are part of a cell's record and key. So after a change, exactly these cells run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokensieve.errors import InputError, excerpt

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.training.method_api import Job, Outcome

# The settings are listed one by one, so that a setting that only tokensieve reads does not change
# the hash of its rivals' cells.
BASE = ("base.model", "base.pooling", "base.max_length")
OPTIMIZER = ("learning_rate", "head_learning_rate", "multilabel_head_learning_rate", "weight_decay", "warmup")
DENSE = (
    *BASE,
    *(
        f"finetune.{name}"
        for name in ("max_epochs", "max_steps", "patience", "batch_size", "min_steps_per_epoch", *OPTIMIZER)
    ),
)
MASKED = (
    *DENSE,
    "mask.unit",
    "mask.budget",
    "schedule.frozen_layers",
    "schedule.top_layers_from",
    "schedule.head_epochs",
    "schedule.all_layer_epochs",
    "schedule.far_task_ratio",
    "mask.examples",
)

DISTILLATION = {"new_tokens": 300, "epochs": 20, "learning_rate": 3e-3}


@dataclass(frozen=True)
class Method:
    """A method: the module in `benchmarks.methods` with its function, its settings and options."""

    module: str
    reads: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


METHODS = {
    "tokensieve": Method("masked", (*MASKED, "vocabulary")),
    "end_to_end": Method("dense", DENSE),
    "lora": Method("adapters", DENSE, {"rank": 16, "alpha": 32}),
    "prefix": Method("adapters", DENSE, {"tokens": 20}),
    "last_k": Method("dense", (*DENSE, "schedule.top_layers_from")),
    "best_k": Method("dense", (*DENSE, "schedule.top_layers_from", "mask.examples")),
    "bitfit": Method("dense", DENSE),
    "fish": Method("masked", MASKED),
    "magnitude_mask": Method("masked", MASKED),
    "random_mask": Method("masked", MASKED),
    "shira": Method("adapters", DENSE, {"rank": 16}),
    "miss": Method("adapters", DENSE, {"rank": 32}),
    "road": Method("adapters", DENSE, {"variant": "road_4", "group": 32}),
    "distilled_states": Method("new_tokens", (*MASKED, "vocabulary"), DISTILLATION),
    "distilled_vectors": Method("new_tokens", (*MASKED, "vocabulary"), DISTILLATION),
    "trained_rows": Method("new_tokens", (*MASKED, "vocabulary"), {"new_tokens": 300}),
    "setfit": Method("setfit", ("base.model",), {"num_iterations": 20, "batch": 16, "learning_rate": 2e-5}),
    "frozen": Method("frozen", BASE, {"penalties": (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0), "folds": 5}),
    "tfidf_svm": Method("tfidf", (), {"C": 1.0}),
}


def method_of(name: str) -> tuple[str, dict[str, str]]:
    """Return the method and the changed settings of a name.

    Examples are `lora`, `tokensieve@schedule.all_layer_epochs=0+mask.unit=columns` and
    `tokensieve@0.02`. A value without a key is the budget of the mask.

    Raises:
        InputError: If the method is unknown, or does not read a setting.
    """
    method, at, rest = name.partition("@")
    if method not in METHODS:
        raise InputError(f"method {excerpt(method)} is unknown; methods: {', '.join(METHODS)}")
    changes = {}
    for part in rest.split("+") if at else []:
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "mask.budget", part
        reads = METHODS[method].reads
        # "vocabulary" in `reads` is a section: all its settings.
        if key.count(".") != 1 or not {key, key.partition(".")[0]} & set(reads):
            known = ", ".join(reads) or "no setting"
            raise InputError(
                f"method {excerpt(name)}: '{method}' does not read {excerpt(key)}; it reads {known}"
            )
        changes[key] = value
    return method, changes


def function_of(method: str) -> Callable[[Job], Outcome]:
    """Import the method's module and return its function.

    Raises:
        InputError: If a package that the method needs is not installed.
    """
    try:
        module = import_module(f"benchmarks.methods.{METHODS[method].module}")
    except ModuleNotFoundError as error:
        raise InputError(
            f"method '{method}': the package {error.name} is not installed; pip install 'tokensieve[bench]' "
            "does"
        ) from None
    function: Callable[[Job], Outcome] = getattr(module, method)
    return function
