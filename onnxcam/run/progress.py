"""How far a method has come that runs a model many times."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, "int | None"], None]


class Steps:
    """Counts runs, and tells.

    Args:
        progress: Who is told; None for nobody.
    """

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.done = progress, 0
        self.total: int | None = None
        self._counted: int | None = None

    def add(self, runs: int, count: int | None = None) -> None:
        """Tell that so many runs more are done, of ``count`` where that is known now."""
        if count is not None and count != self._counted:
            self._counted, self.total = count, self.done + count
        self.done += runs
        if self.progress is not None:
            self.progress(self.done, self.total)
