"""The learning rates of the methods. They are the same for all tasks."""

from __future__ import annotations

from typing import NamedTuple

from tokensieve.settings import Finetune


class Rates(NamedTuple):
    """The learning rates of the encoder (or adapters) and of the head.

    `multilabel` is that of the head for multi-label tasks.
    """

    body: float
    head: float
    multilabel: float = Finetune().multilabel_head_learning_rate


# The defaults of the library.
SHIPPED = Rates(Finetune().learning_rate, Finetune().head_learning_rate)

# The best pair of each method's grid (results/grid, hwu64 with 10 shots). Methods that differ from
# tokensieve only in the scores of weights have its rates.
RATES = {
    "tokensieve": SHIPPED,
    "fish": SHIPPED,
    "magnitude_mask": SHIPPED,
    "random_mask": SHIPPED,
    "distilled_states": SHIPPED,
    "distilled_vectors": SHIPPED,
    "trained_rows": SHIPPED,
    "end_to_end": Rates(5e-5, 3e-3),
    "lora": Rates(1e-3, 1e-2, 1e-2),
    "last_k": Rates(3e-4, 1e-3),
    "best_k": Rates(3e-4, 1e-3),
    "bitfit": Rates(1e-3, 1e-2),
    "prefix": Rates(9e-2, 3e-3),
    "shira": Rates(1e-3, 3e-3),
    "miss": Rates(3e-4, 1e-2),
    "road": Rates(9e-3, 3e-3),
}

# The points of `--grid`: these factors on a method's body rate, with each of these head rates.
FACTORS = (0.3, 1.0, 3.0)
HEADS = (1e-3, 3e-3, 1e-2)
