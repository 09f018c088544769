"""One direction of space of a tensor: where its cells lie on the input's axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isnan, nan


@dataclass(frozen=True)
class Run:
    """The cells of a direction of space, in samples of the input: sample i lies from i to i + 1.

    Attributes:
        first: The outer edge of the first cell.
        last: That of the last cell; before ``first`` where they are reversed.
        begin: Where the part of the input begins that they are made of.
        end: Where it ends.
        count: How many cells there are; NaN where that is not known.
        moved: Whether they were cropped, padded or turned, rather than only convolved.
        beside: How many cells of padding stand before and behind, which are not counted yet: an
            unpadded convolution behind them is a padded one.
        even: What they were before a convolution made more of them than it shall, and how many
            they shall be: a crop of the rest, as behind a causal convolution, puts them back.
        doubt: Why all of this is not known, in words.
    """

    first: float
    last: float
    begin: float
    end: float
    count: float
    moved: bool = False
    beside: tuple[float, float] = (0, 0)
    even: tuple[Run, float] | None = None
    doubt: str = ""

    @property
    def cell(self) -> float:
        """How far it is from a cell to the next; negative where they are reversed."""
        return (self.last - self.first) / self.count if self.count else 0.0

    @property
    def padded(self) -> Run:
        """The same with the padding beside them counted."""
        before, behind = self.beside
        if not before and not behind:
            return self
        first, last = self.first - before * self.cell, self.last + behind * self.cell
        count = self.count + before + behind
        return replace(self, first=first, last=last, count=count, beside=(0, 0), moved=True)

    def sized(self, count: float) -> Run:
        """Return as many cells over the same part."""
        found = self.padded
        return found if found.count == count else replace(found, count=count, even=None)

    def unsure(self, why: str) -> Run:
        """Return the cells where their place is not known."""
        return self if self.doubt else replace(self, doubt=why, beside=(0, 0), even=None)

    def put(self, before: float, behind: float) -> Run:
        """Return the cells between padding; where that is negative, without those cut off."""
        cut = max(-before, 0), max(-behind, 0)
        kept = self.cut(cut[0], self.count - sum(cut)) if any(cut) else self
        a, b = kept.beside
        return replace(kept, beside=(a + max(before, 0), b + max(behind, 0)), even=None)

    def cut(self, start: float, count: float, step: int = 1) -> Run:
        """Return some of the cells, from one on, in steps that are negative to turn them round."""
        if self.even is not None and step == 1 and count == self.even[1]:
            return self.even[0]
        run, size = self.padded, abs(step)
        if isnan(run.count) or isnan(count):
            return run.unsure("it is cropped, and its size is not known")
        if step > 1 and start < step and count in (run.count // step, ceil(run.count / step)):
            return replace(run, count=count, even=None)
        middle = start + 0.5
        low = middle - step / 2
        first = run.first + run.cell * low
        last = first + run.cell * step * count
        ends = sorted((low, low + step * count))
        begin, end = run.begin, run.end
        if ends[0] > 0 and start > 0:
            begin, end = _bounded(begin, end, run.first + run.cell * ends[0], run.cell > 0)
        if ends[1] <= run.count - size:
            begin, end = _bounded(begin, end, run.first + run.cell * ends[1], run.cell < 0)
        moved = run.moved or step < 0 or (low, count * size) != (0, run.count)
        return Run(first, last, begin, end, count, moved, doubt=run.doubt)

    def windowed(self, window: Window, count: float) -> Run:
        """Return what a convolution or a pool makes of the cells; NaN: it says how many itself."""
        before, behind = (a + b for a, b in zip(self.beside, window.pads, strict=True))
        stride, excess = window.stride, before + behind - window.width
        count = (self.count + excess - 1) / stride + 1 if isnan(count) else count
        shall = ceil(self.count / stride) if self.count % 1 == 0 else self.count / stride
        base = replace(self, count=count, beside=(0, 0), even=None)
        if isnan(count):
            return base
        level = abs(before - behind) <= stride or not before or not behind
        if level and (1 - stride <= excess <= 0 or count == shall):
            # As many as there shall be: by all conventions they share what there was evenly, also
            # where all of the padding stands before them, as of a causal convolution.
            fewer = stride * count < self.count
            last = self.first + self.cell * stride * count if fewer else self.last
            return replace(base, last=last)
        if any(self.beside):
            return self.padded.windowed(window, count)
        first = self.first + self.cell * (window.width / 2 - before - (stride - 1) / 2)
        even = (replace(base, count=shall), shall) if excess > 0 else None
        return replace(base, first=first, last=first + self.cell * stride * count, even=even)

    def spread(self, window: Window, count: float) -> Run:
        """Return what a transposed convolution makes of the cells."""
        run, stride = self.padded, window.stride
        shall = run.count * stride
        count = shall + window.width + 1 - stride - sum(window.pads) if isnan(count) else count
        base = replace(run, count=count, even=None)
        if isnan(count) or count == shall:
            return base
        cell = run.cell / stride
        first = run.first + cell * (window.pads[0] - window.width / 2 + (stride - 1) / 2)
        even = (replace(base, count=shall), shall) if count > shall else None
        return replace(base, first=first, last=first + cell * count, even=even)


@dataclass(frozen=True)
class Window:
    """What a convolution sees along an axis.

    Attributes:
        width: Steps from its first to its last weight.
        stride: Steps from window to window.
        pads: Padding before and behind.
    """

    width: int
    stride: int
    pads: tuple[float, float]


UNKNOWN = nan


def merged(runs: Sequence[Run], why: str) -> Run:
    """Return where the cells lie of a tensor that is made of several, of as many cells.

    Args:
        runs: Where those of its parts lie.
        why: What to say where they contradict each other.
    """
    sure = [r for r in runs if not r.doubt]
    if not sure:
        return runs[0]
    plain = next((r for r in sure if not r.moved), sure[0])
    for run in sure:
        own, other = run.padded, plain.padded
        known = [abs(r.cell) for r in (own, other) if not isnan(r.count)]
        if max(abs(own.first - other.first), abs(own.last - other.last)) > max([*known, 1.0]):
            return plain.unsure(why)
    return plain


def _bounded(begin: float, end: float, edge: float, low: bool) -> tuple[float, float]:
    return (max(begin, edge), end) if low else (begin, min(end, edge))
