"""A signal that Python swallows in a finalizer prints no stack trace."""

from __future__ import annotations

import sys

import pytest

from tokensieve.cli.interrupts import watched


class _Interrupted:
    def __del__(self) -> None:
        raise KeyboardInterrupt


class _Faulty:
    def __del__(self) -> None:
        raise ValueError("a fault of its own")


def test_a_signal_in_a_finalizer_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: reported.append(found.exc_type.__name__))
    with watched("ended"):
        interrupted, faulty = _Interrupted(), _Faulty()
        del interrupted, faulty
    assert reported == ["ValueError"]
    interrupted = _Interrupted()
    del interrupted
    assert reported == ["ValueError", "KeyboardInterrupt"]
