"""How far a command is: a bar where somebody looks, a line now and then where nobody does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onnxcam.cli.options import say

if TYPE_CHECKING:
    from rich.progress import Progress

_EVERY = 10.0  # seconds between two lines
_FEW = 20  # inputs that need no line: their results are told of


class Bar:
    """What shows the inputs, and the runs of the one that is explained.

    Args:
        bar: rich's; None where nobody looks.
        inputs: How many there are.
    """

    def __init__(self, bar: Progress | None, inputs: int) -> None:
        self._bar, self._count, self._done = bar, inputs, 0
        self._begin = self._told = time.monotonic()
        self._inputs = self._task("explaining", inputs) if bar and inputs > 1 else None
        self._runs: Any = None

    def _task(self, what: str, total: int | None) -> Any:
        assert self._bar is not None
        return self._bar.add_task(what, total=total, rate="")

    def advance(self) -> None:
        """Tell that an input is done."""
        self._done += 1
        if self._bar is None:
            self._line()
        elif self._inputs is not None:
            rate = f"{self._rate:.1f} a second"
            self._bar.update(self._inputs, completed=self._done, rate=rate)

    @property
    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._begin, 1e-9)

    def _line(self) -> None:
        """Say how far it is, where that was not said for a while."""
        now = time.monotonic()
        if self._count <= _FEW or now - self._told < _EVERY:
            return
        self._told = now
        left = (self._count - self._done) / self._rate
        say(
            f"{self._done} of {self._count} inputs, {self._rate:.1f} a second, {left:.0f} s left",
            err=True,
        )

    def run(self, done: int, total: int | None) -> None:
        """Tell how often the model was run for an input."""
        if not self._bar:
            return
        if self._runs is None:
            self._runs = self._task("running", total)
        shown = done if total is None else min(done, total)  # a few runs are not the method's
        self._bar.update(self._runs, completed=shown, total=total)


@contextmanager
def seen() -> Iterator[Progress | None]:
    """Yield rich's bars with rate and time left; None where there is nobody to look at them."""
    # As rich asks, which is not imported where nobody looks.
    if not sys.stderr.isatty() and not {"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar


@contextmanager
def progress(inputs: int) -> Iterator[Bar]:
    """A progress bar of inputs, and of the runs for each."""
    with seen() as bar:
        yield Bar(bar, inputs)


@contextmanager
def samples(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what is told how many samples are done, of how many.

    Args:
        what: What is done with them, in a word.
    """
    with seen() as bar:
        if bar is None:
            yield lambda *_: None
            return
        task = bar.add_task(what, total=None, rate="")

        def tell(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            rate = "" if not speed else f"{speed:.1f} a second"
            bar.update(task, completed=done, total=total, rate=rate)

        yield tell
