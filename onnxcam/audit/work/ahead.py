"""Samples decoded ahead of the model: one thread reads while another runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
_WAIT = 0.1  # seconds between looks at whether somebody still wants the results


class Ahead(Generic[A, B]):
    """Applies a function to items in another thread, a bounded number of them ahead.

    Args:
        work: The function. What it raises is raised where the item is taken.
        items: What it is applied to.
        most: How many results may wait.
    """

    def __init__(self, work: Callable[[A], B], items: Iterable[A], most: int) -> None:
        self._work, self._items = work, items
        self._queue: Queue[tuple[bool, B | BaseException | None]] = Queue(most)
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True, name="onnxcam-decoder")

    def __iter__(self) -> Iterator[B]:
        """Yield the results, in the order of the items."""
        self._thread.start()
        try:
            while True:
                more, value = self._queue.get()
                if isinstance(value, BaseException):
                    raise value
                if not more:
                    return
                yield value  # type: ignore[misc]
        finally:
            self._stop.set()
            self._drain()
            self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put((True, self._work(item))):
                    return
            self._put((False, None))
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
            self._put((False, error))

    def _put(self, value: tuple[bool, B | BaseException | None]) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(value, timeout=_WAIT)
            except Full:
                continue
            return True
        return False

    def _drain(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            return
