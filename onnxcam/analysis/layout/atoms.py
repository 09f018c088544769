"""What axes mean, as products of atoms: whatever they were cut into, moved by and joined from.

A reshape cuts an axis of space into windows and offsets in them, ``h -> (h2 h1)``, puts windows
beside the batch, ``(n h2 w2)``, and heads beside channels; another one puts all of it back. Here
nothing is lost on the way: an atom is some of the digits of a position, an axis the product of its
atoms, and what an axis is called is read off at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from onnxcam.graph.emit import Dim


@dataclass(frozen=True)
class Atom:
    """A factor of an axis.

    Attributes:
        letter: What it counts: ``N`` batch, ``C`` channel, ``D H W`` space, ``?`` unknown.
        size: Its extent.
        level: 0 counts single steps; an atom of a higher level counts runs of all lower ones.
    """

    letter: str
    size: Dim
    level: int = 0


@dataclass(frozen=True)
class Axis:
    """A product of atoms, the slowest first; of none where the meaning is unknown.

    Attributes:
        atoms: The atoms.
        before: How many class and register tokens stand before them; None where that is not known.
        behind: How many stand behind.
        more: Extents of more grids of the same space, the first things that stand behind: the
            tokens of several scales, one behind the other.
    """

    atoms: tuple[Atom, ...] = ()
    before: int | None = 0
    behind: int | None = 0
    more: tuple[tuple[int, ...], ...] = ()

    @property
    def known(self) -> bool:
        """Whether the meaning of all of it is known."""
        return bool(self.atoms) and all(a.letter != "?" for a in self.atoms)

    @property
    def padded(self) -> bool:
        """Whether something stands beside the atoms."""
        return (self.before, self.behind) != (0, 0)

    @property
    def size(self) -> int | None:
        """How many elements the atoms make, None where that is not known."""
        sizes = [a.size for a in self.atoms if isinstance(a.size, int)]
        return prod(sizes) if len(sizes) == len(self.atoms) else None

    @property
    def wide(self) -> tuple[Atom, ...]:
        """The atoms that count something; the first where all are ones."""
        return tuple(a for a in self.atoms if a.size != 1) or self.atoms[:1]

    def part(self, start: int, end: int) -> Axis | None:
        """Return a run of the elements: class tokens, a grid or several; None where one is cut."""
        own = tuple(a.size for a in self.wide if isinstance(a.size, int))
        if self.before is None or self.behind is None or len(own) != len(self.wide):
            return None
        starts = [self.before]
        for grid in (own, *self.more):
            starts.append(starts[-1] + prod(grid))
        left = [k for k, place in enumerate(starts[:-1]) if start <= place and starts[k + 1] <= end]
        cut = any(a < edge < b for edge in (start, end) for a, b in pairwise(starts))
        if cut or not left or end > starts[-1] + self.behind - sum(map(prod, self.more)):
            return None
        first, *rest = ((own, *self.more)[k] for k in left)
        atoms = tuple(replace(a, size=size) for a, size in zip(self.wide, first, strict=True))
        return Axis(atoms, starts[left[0]] - start, end - starts[left[0] + 1], tuple(rest))

    def fitted(self, dim: int) -> Axis:
        """Return the axis where it is this long, with what is known of the tokens beside it."""
        before, behind, rest = self.before, self.behind, dim - (self.size or 0)
        before = rest - behind if before is None and behind is not None else before
        behind = rest - before if behind is None and before is not None else behind
        beside = [n for n in (before, behind) if n is not None]
        fits = min(rest, *beside, 0) >= 0 and (len(beside) < 2 or sum(beside) == rest)
        return replace(self, before=before, behind=behind) if fits else Axis()


UNKNOWN = Axis()


def settled(axes: Sequence[Axis]) -> Iterator[Axis]:
    """Put atoms in order: no ones that say nothing, no gaps between levels, neighbours joined."""
    wide = Counter(a.letter for axis in axes for a in axis.atoms if a.size != 1)
    kept: list[list[Atom]] = []
    for axis in axes:
        ones = [a for a in axis.atoms if a.size == 1 and a.letter != "?" and not wide[a.letter]]
        wide.update(a.letter for a in ones)
        kept.append(ones + [a for a in axis.atoms if a.size != 1])
    kept = [_joined(atoms) for atoms in _counted(kept)]
    channels = sum(a.letter == "C" for atoms in kept for a in atoms)
    for atoms, axis in zip(_counted(kept), axes, strict=True):
        new = replace(axis, atoms=tuple(atoms))
        letters = {a.letter for a in atoms}
        if letters == {"C"} and len(atoms) == channels > 1:
            yield Axis((Atom("C", new.size),))
        else:
            yield UNKNOWN if letters <= {"?"} or ("?" in letters and axis.padded) else new


def _counted(axes: Sequence[Sequence[Atom]]) -> list[list[Atom]]:
    """Number the levels of every letter from 0."""
    levels: dict[str, set[int]] = {}
    for atom in (a for axis in axes for a in axis):
        levels.setdefault(atom.letter, set()).add(atom.level)
    ranks = {c: {level: k for k, level in enumerate(sorted(found))} for c, found in levels.items()}
    return [[replace(a, level=ranks[a.letter][a.level]) for a in axis] for axis in axes]


def _joined(atoms: Sequence[Atom]) -> list[Atom]:
    """Join neighbours of consecutive levels."""
    found: list[Atom] = []
    for atom in atoms:
        last = found[-1] if found else Atom("", None)
        follows = last.level == atom.level + 1 or atom.letter == "?"
        if last.letter == atom.letter and follows:
            found[-1] = replace(atom, size=Axis((last, atom)).size)
        else:
            found.append(atom)
    return found
