"""A class of which many test texts are wrong, with the numbers of its texts."""

from __future__ import annotations

from dataclasses import dataclass

from tokensieve.errors import excerpt


@dataclass(frozen=True)
class WeakClass:
    """A class and its texts.

    Attributes:
        label: Its name.
        correct: Number of its test texts that got the label.
        texts: Number of its test texts.
        train_texts: Number of its training texts.
    """

    label: str
    correct: int
    texts: int
    train_texts: int

    def __str__(self) -> str:
        outcome = "right" if self.correct else "wrong"
        tested = (
            f"tested on 1 text, {outcome}" if self.texts == 1 else f"{self.correct} of {self.texts} right"
        )
        trained = "1 training text" if self.train_texts == 1 else f"{self.train_texts:,} training texts"
        return f"{excerpt(self.label, 40)} ({trained}, {tested})"
