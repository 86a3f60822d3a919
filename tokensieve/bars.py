"""Progress bars: on a terminal with rate and time left, elsewhere as a part of the log's lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

from tokensieve import progress


class Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar that disappears at its end.

    If no bar is shown, `progress.log_while_running` logs how far it is.

    Args:
        items: What is iterated. None: call `update` with the number of finished items.
        name: What is done.
        unit: One item.
        total: The number of items, None for that of `items` or if it is unknown.
        hidden: Whether to show no bar on a terminal either.
        left_in: What the time left is of, as "this epoch", if that is not plain from `name`.
    """

    def __init__(
        self,
        items: Iterable[Any] | None = None,
        name: str = "",
        unit: str = "",
        total: int | None = None,
        hidden: bool = False,
        left_in: str = "",
    ) -> None:
        hide = True if hidden or progress.bars_hidden() else None  # None: shown on a terminal
        super().__init__(items, desc=name, unit=unit, total=total, leave=False, miniters=1, disable=hide)
        self._name, self._unit, self._done = name, unit, 0
        self._left_in = f" in {left_in}" if left_in else ""
        self._began = self._last = time.monotonic()
        progress.open_bars.append(self)

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self.iterable:
                yield item
                self.update()

    def update(self, n: float | None = 1) -> bool | None:
        """Count `n` more items as finished."""
        self._done += int(n or 0)
        self._last = time.monotonic()
        return super().update(n)

    def close(self) -> None:
        """Remove the bar."""
        if self in progress.open_bars:
            progress.open_bars.remove(self)
        super().close()

    def state(self) -> str:
        """Return how far it is, as "scoring weights, 300 of 1,200 texts, 12/s, about 75 s left".

        The rate is that of the finished items, so that it does not fall during a long item. Without
        an estimate if the last item takes longer than the others did.
        """
        total = f" of {self.total:,}" if self.total else ""
        known = f"{self._name}, {self._done:,}{total} {self._unit}s"
        seconds = self._last - self._began
        if not self._done or not seconds:
            return known
        each, under_way = seconds / self._done, time.monotonic() - self._last
        left = each * (self.total - self._done) - min(each, under_way) if self.total else 0.0
        estimate = f", about {left:.0f} s left{self._left_in}" if left > 0 else ""
        rate = self._done / seconds
        return f"{known}, {f'{rate:,.0f}' if rate >= 10 else f'{rate:.2g}'}/s{estimate}"

    # tqdm compares bars by their position, and has no hash of its own.
    __hash__ = object.__hash__
    __eq__ = object.__eq__
