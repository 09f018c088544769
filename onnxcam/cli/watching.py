"""A progress bar with rate and time left, where there is someone to look at it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def watched_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what is told how many samples are done, of how many.

    Args:
        what: What is done with them, in a word.
    """
    # As rich asks, which is not imported where nobody looks.
    if not sys.stderr.isatty() and not {"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys():
        yield lambda *_: None
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
        task = bar.add_task(what, total=None, rate="")

        def tell(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            rate = "" if not speed else f"{speed:.1f} a second"
            bar.update(task, completed=done, total=total, rate=rate)

        yield tell
