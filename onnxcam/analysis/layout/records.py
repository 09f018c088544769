"""What a tensor's axes are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from onnxcam.graph.emit import Dim, Tensor, shape_of

SPACE = {0: "", 1: "W", 2: "HW", 3: "DHW"}
Piece: TypeAlias = tuple[str, Dim, int]  # letter, extent, and its rank among those of its letter


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
        pieces: Where letters do not say it, but all of it is known (windows or frames beside the
            batch, no batch at all): what every axis is the product of, the slowest first; of
            nothing for an axis of 1 that has no meaning.
        part: Which part of a batch that other inputs share, whose number is the piece ``P``.
        more: Extents of more grids, whose tokens are the first that stand behind: a pyramid of
            maps, the tokens of one behind those of the other.
    """

    axes: str
    grid: tuple[Dim, ...] = ()
    prefix: int | None = 0
    suffix: int = 0
    rolled: bool = False
    pieces: tuple[tuple[Piece, ...], ...] = ()
    more: tuple[tuple[int, ...], ...] = ()
    part: int = 0

    @property
    def scales(self) -> tuple[Layout, ...]:
        """The layout of each of its grids alone; itself where there is one."""
        if not self.more or self.prefix is None or self.cells is None:
            return (self,)
        found, start, left = [], self.prefix, self.suffix + self.cells
        for grid in (self.grid, *self.more):
            size = whole(grid)
            assert isinstance(size, int)  # `more` is only said where all are known
            left -= size
            found.append(replace(self, grid=grid, prefix=start, suffix=left, more=()))
            start += size
        return tuple(found)

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
        each = self.regrouped
        return each.batch is not None and each.channel is not None and bool(each.space)

    @property
    def strange(self) -> bool:
        """Whether there are axes that are neither batch nor channel nor space."""
        return not set(self.regrouped.axes) <= set("NCDHWT")

    @property
    def regrouped(self) -> Layout:
        """The layout of a tensor whose pieces are put together by their letters; itself without."""
        if not self.pieces:
            return self
        letters = {letter for axis in self.pieces for letter, _, _ in axis}
        return Layout("NC" + "".join(c for c in SPACE[3] if c in letters), rolled=self.rolled)

    def _index(self, letter: str) -> int | None:
        return self.axes.index(letter) if letter in self.axes else None

    @property
    def cells(self) -> int | None:
        """How many tokens the grid has, None where that is not known."""
        cells = whole(self.grid)
        return cells if isinstance(cells, int) else None

    def unfolded(self, shape: Sequence[Dim]) -> tuple[str, tuple[Dim, ...]] | None:
        """Return the axes and the shape of what a tensor [N, X] is the flattened form of.

        None where it is not flattened, or the extents are not known.
        """
        flat = self.pieces[1] if len(self.pieces) == 2 else ()
        letters = "".join(letter for letter, _, _ in flat)
        sizes: tuple[Dim, ...] = tuple(size for _, size, _ in flat)
        if self.axes == "NT" and not self.prefix and not self.suffix:
            letters, sizes = SPACE[len(self.grid)], self.grid
        clear = len(letters) > 1 and len(set(letters)) == len(letters)
        if self.batch != 0 or not clear or not all(isinstance(d, int) for d in sizes):
            return None
        return f"N{letters}", (shape[0], *sizes)

    def extents(self, shape: Sequence[Dim]) -> tuple[Dim, ...]:
        """Return the extents of space, from depth to width, of a tensor of this shape."""
        if self.grid:
            return self.grid
        if not self.pieces:
            return tuple(shape[i] for i in self.space)
        made: dict[str, list[Dim]] = {}
        for axis, size in zip(self.pieces, shape, strict=True):
            for letter, extent, _ in axis:
                made.setdefault(letter, []).append(size if len(axis) == 1 else extent)
        return tuple(whole(made[c]) for c in SPACE[3] if c in made)

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """Return :meth:`extents` of an array of this shape; None where one is left open."""
        found = tuple(d for d in self.extents(shape) if isinstance(d, int))
        return found if len(found) == len(self.extents(shape)) else None


def whole(extents: Sequence[Dim]) -> Dim:
    """Return the product of extents; of one the extent itself, None where it is not known."""
    sizes = [d for d in extents if isinstance(d, int)]
    if len(sizes) == len(extents):
        return prod(sizes)
    return extents[0] if len(extents) == 1 else None


def spatial_shape(tensor: Tensor, layout: Layout) -> tuple[Dim, ...]:
    """Return the spatial shape of a tensor: that of the grid for a token layout."""
    return layout.extents(shape_of(tensor) or (None,) * len(layout.axes))
