"""Stopping early: by Ctrl-C, or where a budget is spent. What was found so far is returned."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from onnxcam.files import patient

_SAME = 0.4  # seconds: a terminal's Ctrl-C reaches a copy of the process twice
_AGAIN = 5.0  # seconds within which a second one is meant to end everything
_last = [float("-inf")]  # when the last one came


class Limit:
    """Says when to stop.

    Args:
        budget: The most runs; None for any number.

    Attributes:
        asked: Whether somebody asked to stop.
        reached: Why it ended early, in words; empty where it did not.
        spent: Runs before those that are told of.
    """

    def __init__(self, budget: int | None) -> None:
        self.budget, self.asked, self.reached, self.spent = budget, False, "", 0

    def room(self, done: int, size: int) -> int:
        """Return how many of the next inputs may run, after ``done`` runs; 0 ends it."""
        done += self.spent
        if self.asked:
            self.reached = f"stopped after {done:,} runs"
            return 0
        if self.budget is None:
            return size
        left = min(size, self.budget - done)
        if left <= 0:
            self.reached = f"the budget of {self.budget:,} runs is spent"
        return max(left, 0)


@contextmanager
def stoppable(limit: Limit) -> Iterator[None]:
    """Let the first Ctrl-C ask to stop while the block runs; a second one soon after ends it.

    Only the main thread hears of Ctrl-C; in another nothing changes.
    """
    old: Any = None
    if threading.current_thread() is threading.main_thread():
        old = signal.getsignal(signal.SIGINT)
    if not callable(old):  # somebody leaves it to the system, or ignores it
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - _last[0] < _SAME:
            return
        again, _last[0] = now - _last[0] < _AGAIN, now
        if limit.asked or again:
            old(number, frame)
        limit.asked = True

    signal.signal(signal.SIGINT, ask)
    try:
        with patient():
            yield
    finally:
        signal.signal(signal.SIGINT, old)
