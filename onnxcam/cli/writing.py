"""What is explained goes to its files: figures are drawn beside the next input's run."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from onnxcam.cli.places import PICTURES, STDOUT
from onnxcam.errors import UsageError, json_text
from onnxcam.output.explanation import Explanation
from onnxcam.output.subject import is_signal

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Files: TypeAlias = "tuple[Path, Path | None]"  # the result's, the raw map's
_WORKERS = 2  # zlib and NumPy leave the interpreter to others while they work
_AHEAD = 16  # explanations that wait for their figures


@dataclass(frozen=True)
class Look:
    """How figures look, as the options say.

    Attributes:
        blending: Colour map, opacity.
        style: One of `STYLES`; None for each method's own.
        only: The style of a bare picture; None for a figure.
        scale: Pixels that a pixel of the picture becomes; None for a figure's usual size.
        panel: The scale of figures of several maps.
        signals: What is said of a signal: the names of its channels, samples a second.
    """

    blending: Mapping[str, Any] = field(default_factory=dict)
    style: Any = None
    only: Any = None
    scale: float | None = None
    panel: Any = None
    signals: Mapping[str, Any] = field(default_factory=dict)

    def of(self, e: Explanation) -> Any:
        """Return the figure, or the bare picture, of an explanation."""
        if self.only is not None:
            return e.image(self.only, self.scale or 1, **self.blending)
        chosen = {**self.blending, "style": self.style, "scale": self.scale}
        if is_signal(e):
            chosen |= self.signals
        return e.figure(**{k: v for k, v in chosen.items() if v is not None})

    def write(self, e: Explanation, files: Files) -> None:
        """Write an explanation."""
        place, map_place = files
        if place == STDOUT or place.suffix.lower() in PICTURES:
            self.put(self.of(e), place)
        else:
            e.save(place)
        if map_place is not None:
            e.save(map_place)

    def write_together(
        self,
        explanations: list[Explanation],
        place: Path,
        names: Sequence[str] = (),
        across: int | None = None,
    ) -> None:
        """Write several explanations into one file.

        Args:
            explanations: What is drawn.
            place: The file.
            names: What each is called; empty says what differs.
            across: How many maps are of one picture, where several pictures are drawn.

        Raises:
            UsageError: The file is no picture and no JSON.
        """
        from onnxcam.output.panel import panel

        if place.suffix.lower() == ".json":
            from onnxcam.files import write_whole

            write_whole(place, json_text([e.as_dict() for e in explanations]).encode())
            return
        several = len({e.source for e in explanations}) > 1
        drawn = panel(
            explanations,
            names=names,
            columns=across if several else None,
            scale=self.panel or "own",
            style=self.style or self.only,
            enlarged=self.scale,
            **self.blending,
        )
        self.put(drawn, place)

    def put(self, drawn: Any, place: Path) -> None:
        """Write a picture to a file, or as PNG to standard output."""
        from onnxcam.output.render import png_bytes, save_image

        if place != STDOUT:
            save_image(drawn, place)
            return
        if sys.stdout.isatty():
            raise UsageError("a picture on a terminal shows nothing", "pipe it into a file")
        sys.stdout.buffer.write(png_bytes(drawn))
        sys.stdout.buffer.flush()


class Desk:
    """Does work beside the caller's and tells of it in order.

    Args:
        pool: Where it is done; None does it at once.
    """

    def __init__(self, pool: ThreadPoolExecutor | None) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Callable[[Callable[[], None]], None], Future[None]]] = deque()

    def add(self, work: Callable[[], None], tell: Callable[[Callable[[], None]], None]) -> None:
        """Do a piece of work; ``tell`` is called with what returns, or raises, as it ended."""
        if self._pool is None:
            tell(work)
            return
        self._waiting.append((tell, self._pool.submit(work)))
        self.settle(_AHEAD)

    def settle(self, most: int = 0) -> None:
        """Wait until no more than so many pieces are left to tell of."""
        while len(self._waiting) > most:
            tell, done = self._waiting.popleft()
            tell(done.result)


@contextmanager
def desk(inputs: int) -> Iterator[Desk]:
    """A desk with helpers where there is more than one input."""
    if inputs < 2:
        yield Desk(None)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_WORKERS) as pool:
        made = Desk(pool)
        yield made
        made.settle()
