"""The queue of the batcher: waiting texts, grouped by model and number of tokens."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tokensieve.inference.load import Model

MAX_TEXTS = 8  # texts after which a worker takes no further group: more would only delay the first

Logits = npt.NDArray[np.float32]


@dataclass
class QueuedRequest:
    """The texts of one request.

    `missing` counts the logits still to compute; it changes under the batcher's lock.
    """

    model: Model
    logits: Logits
    missing: int
    future: asyncio.Future[Logits]


@dataclass(frozen=True)
class QueuedText:
    """The token ids of one text, whose logits are row `row` of its request."""

    request: QueuedRequest
    row: int
    ids: Sequence[int]


Key = tuple[int, int]  # identity of the model, number of tokens


@dataclass
class TextQueue:
    """Queued texts by key. The key whose turn is next comes first."""

    waiting: OrderedDict[Key, deque[QueuedText]] = field(default_factory=OrderedDict)

    def add(self, item: QueuedText) -> None:
        """Add a text behind those of the same model and length."""
        self.waiting.setdefault((id(item.request.model), len(item.ids)), deque()).append(item)

    def remove(self, request: QueuedRequest) -> int:
        """Remove the texts of a request and return how many there were."""
        removed = 0
        for key, items in list(self.waiting.items()):
            kept = deque(item for item in items if item.request is not request)
            removed += len(items) - len(kept)
            if kept:
                self.waiting[key] = kept
            else:
                del self.waiting[key]
        return removed

    def take(self, budget: int, share: int) -> list[list[QueuedText]]:
        """Remove and return groups of texts with the same key.

        Args:
            budget: The most tokens of all groups together. A single text may have more.
            share: The most texts per group. It takes groups until they contain `share` or
                `MAX_TEXTS` texts.
        """
        groups: list[list[QueuedText]] = []
        left = min(share, MAX_TEXTS)
        while self.waiting and left > 0 and (budget >= next(iter(self.waiting))[1] or not groups):
            key, items = self.waiting.popitem(last=False)
            group = [items.popleft() for _ in range(min(len(items), share, max(1, budget // key[1])))]
            groups.append(group)
            left, budget = left - len(group), budget - len(group) * key[1]
            if items:
                # To the end, so that a frequent length does not delay the others.
                self.waiting[key] = items
        return groups
