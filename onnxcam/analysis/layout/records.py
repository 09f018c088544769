"""What a tensor's axes are called."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from onnxcam.graph.emit import Dim, Tensor, shape_of

SPACE = {0: "", 1: "W", 2: "HW", 3: "DHW"}


@dataclass(frozen=True)
class Layout:
    """The meaning of a tensor's axes.

    Attributes:
        axes: One letter per axis: ``N`` batch, ``C`` channel, ``D H W`` space (a sequence has
            only ``W``), ``T`` tokens (space flattened into one axis), ``d h w`` the offset inside
            a cell of a space that was cut into cells, ``?`` unknown, or a product of several.
        grid: For a token axis: the spatial shape that it was flattened from.
        prefix: For a token axis: how many class and register tokens stand before the grid; None
            where that is not known.
        suffix: For a token axis: how many tokens stand behind the grid.
        rolled: Positions are rolled round, so that they are not where their letters say.
    """

    axes: str
    grid: tuple[Dim, ...] = ()
    prefix: int | None = 0
    suffix: int = 0
    rolled: bool = False

    @property
    def channel(self) -> int | None:
        """Index of the channel axis."""
        return self._index("C")

    @property
    def batch(self) -> int | None:
        """Index of the batch axis."""
        return self._index("N")

    @property
    def space(self) -> tuple[int, ...]:
        """Indices of the spatial (or token) axes, in the order depth, height, width."""
        return tuple(self.axes.index(c) for c in "DHWT" if c in self.axes)

    @property
    def known(self) -> bool:
        """Whether batch, channel and at least one spatial axis are known."""
        return self.batch is not None and self.channel is not None and bool(self.space)

    @property
    def strange(self) -> bool:
        """Whether there are axes that are neither batch nor channel nor space."""
        return not set(self.axes) <= set("NCDHWT")

    def _index(self, letter: str) -> int | None:
        return self.axes.index(letter) if letter in self.axes else None

    @property
    def cells(self) -> int | None:
        """How many tokens the grid has, None where that is not known."""
        sizes = [d for d in self.grid if isinstance(d, int)]
        return prod(sizes) if len(sizes) == len(self.grid) else None


def spatial_shape(tensor: Tensor, layout: Layout) -> tuple[Dim, ...]:
    """Return the spatial shape of a tensor: that of the grid for a token layout."""
    if layout.grid:
        return layout.grid
    shape = shape_of(tensor) or ()
    return tuple(shape[i] for i in layout.space)
