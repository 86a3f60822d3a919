"""The learning rates and epochs of every method that has any: one table, for all tasks."""

from __future__ import annotations

from typing import NamedTuple

from tokensieve.settings import Finetune


class Rates(NamedTuple):
    """Of the encoder's (or the adapters') trained weights, of the head, and of the head of a task with several labels a text."""

    body: float
    head: float
    multilabel: float = Finetune().multilabel_head_learning_rate


# The rivals' epochs at most; tokensieve's are the library's default, which is fewer.
EPOCHS = 10

# What the library ships with.
SHIPPED = Rates(Finetune().learning_rate, Finetune().head_learning_rate)

# Where a grid has run (results/grid, hwu64 with 10 shots), its best pair. The others are starting values until `--grid METHOD` has
# run for them: from the prototype where it had the method, else from the method's paper or what is usual for it.
RATES = {
    "tokensieve": SHIPPED,
    "fish": SHIPPED,
    "magnitude_mask": SHIPPED,
    "random_mask": SHIPPED,
    "end_to_end": Rates(5e-5, 3e-3),  # grid
    "lora": Rates(1e-3, 1e-2, 1e-2),  # grid
    "last_k": Rates(3e-4, 1e-3),  # grid
    "best_k": Rates(3e-4, 1e-3),  # grid
    "bitfit": Rates(1e-3, 1e-2),  # grid
    "prefix": Rates(9e-2, 3e-3),  # grid
    "shira": Rates(1e-3, 3e-3),  # grid
}

# What `--grid` tries: these factors on a method's body rate, with each of these head rates.
FACTORS = (0.3, 1.0, 3.0)
HEADS = (1e-3, 3e-3, 1e-2)
