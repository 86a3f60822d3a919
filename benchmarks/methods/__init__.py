"""The methods, one function each from a job to an outcome. This table imports none of them.

`reads` are the settings that a method's result depends on, `options` its own constants: both go into a cell's record and its
hash, so that a change makes those cells run again, and only those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokensieve.errors import InputError, excerpt

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.job import Job, Outcome

# Named one by one: a setting that only tokensieve reads must not change the hash of its rivals' cells.
BASE = ("base.model", "base.pooling", "base.max_length")
OPTIMIZER = ("learning_rate", "head_learning_rate", "weight_decay", "warmup")
DENSE = (*BASE, *(f"finetune.{name}" for name in ("epochs", "steps", "patience", "batch", *OPTIMIZER)))
MASKED = (*DENSE, "mask.shape", "mask.budget", "mask.frozen", "mask.cut", "mask.open")
SCORED = (*MASKED, "mask.examples")


@dataclass(frozen=True)
class Method:
    """The module under `benchmarks.methods` that has the method's function, and what its result depends on."""

    module: str
    reads: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    budgeted: bool = False


METHODS = {
    "tokensieve": Method("masked", (*SCORED, "vocabulary"), budgeted=True),
    "end_to_end": Method("dense", DENSE),
    "end_to_end_8": Method("dense", DENSE, {"epochs": 8}),
    "lora": Method("adapters", DENSE, {"rank": 16, "alpha": 32}),
    "prefix": Method("adapters", DENSE, {"tokens": 20}),
    "last_k": Method("dense", (*DENSE, "mask.cut")),
    "best_k": Method("dense", (*DENSE, "mask.cut", "mask.examples")),
    "bitfit": Method("dense", DENSE),
    "fish": Method("masked", SCORED, budgeted=True),
    "random_mask": Method("masked", MASKED, budgeted=True),
    "shira": Method("adapters", DENSE, {"rank": 16}),
    "setfit": Method("setfit", ("base.model",), {"num_iterations": 20, "batch": 16, "learning_rate": 2e-5}),
    "frozen": Method("frozen", BASE, {"penalties": (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0), "folds": 5}),
    "tfidf_svm": Method("tfidf", (), {"C": 1.0}),
}


def method_of(name: str) -> tuple[str, float | None]:
    """The method and budget of a name such as `lora` or `tokensieve@0.02`.

    Raises:
        InputError: an unknown method, or a budget that is none or that the method has not.
    """
    method, _, budget = name.partition("@")
    if method not in METHODS:
        raise InputError(f"method {excerpt(method)} is unknown; methods: {', '.join(METHODS)}")
    if not budget and "@" not in name:
        return method, None
    if not METHODS[method].budgeted:
        with_budget = ", ".join(known for known, facts in METHODS.items() if facts.budgeted)
        raise InputError(f"method {excerpt(name)}: '{method}' has no budget; those that have: {with_budget}")
    try:
        return method, float(budget)
    except ValueError:
        raise InputError(f"method {excerpt(name)}: the budget is no number; write {method}@0.05") from None


def function_of(method: str) -> Callable[[Job], Outcome]:
    """The method's function, its module imported now.

    Raises:
        InputError: a package that the method needs is not installed.
    """
    try:
        module = import_module(f"benchmarks.methods.{METHODS[method].module}")
    except ModuleNotFoundError as error:
        raise InputError(f"method '{method}': the package {error.name} is not installed; pip install 'tokensieve[bench]' does") from None
    function: Callable[[Job], Outcome] = getattr(module, method)
    return function
