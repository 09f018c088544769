"""The meaning of a tensor's axes, and what becomes of it where they are moved, cut or joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from onnxcam.analysis.layout.atoms import UNKNOWN, Atom, Axis, settled
from onnxcam.analysis.layout.groups import Factor, factors
from onnxcam.analysis.layout.records import SPACE, Layout, Piece
from onnxcam.graph.emit import Dim

_CUTS = 64  # atoms that one may be cut into


@dataclass(frozen=True)
class Meaning:
    """The meaning of a tensor's axes.

    Attributes:
        axes: One product an axis.
        rolled: By how many positions each direction of space was rolled round.
    """

    axes: tuple[Axis, ...]
    rolled: tuple[tuple[str, int], ...] = ()

    @property
    def unknown(self) -> int:
        """How many axes have no known meaning."""
        return sum(not axis.known for axis in self.axes)

    @property
    def complete(self) -> bool:
        """Whether there is nothing more to be known."""
        return not self.unknown and all(axis.before is not None for axis in self.axes)

    def whole(self, i: int) -> str:
        """Return the letter of an axis that is all there is of it; "" for any other."""
        axis = self.axes[i]
        alone = (
            len(axis.atoms) == 1 and sum(a.letter == axis.atoms[0].letter for a in self.atoms) == 1
        )
        return axis.atoms[0].letter if alone and not axis.padded else ""

    @property
    def atoms(self) -> Iterator[Atom]:
        """All of its atoms."""
        return (a for axis in self.axes for a in axis.atoms)

    def put(self, changed: Mapping[int, Axis]) -> Meaning:
        """Return the meaning with other axes in some places."""
        axes = [changed.get(i, axis) for i, axis in enumerate(self.axes)]
        return self._with(axes, [self.axes[i] for i in changed])

    def picked(self, places: Sequence[int | None]) -> Meaning:
        """Return the meaning of axes that are some of these; None is a new one."""
        axes = [UNKNOWN if i is None else self.axes[i] for i in places]
        return self._with(axes, [axis for i, axis in enumerate(self.axes) if i not in places])

    def above(self, letter: str) -> Meaning:
        """Return the meaning with room below all atoms of a letter."""

        def lifted(a: Atom) -> Atom:
            return replace(a, level=a.level + 1) if a.letter == letter else a

        axes = (replace(axis, atoms=tuple(map(lifted, axis.atoms))) for axis in self.axes)
        return replace(self, axes=tuple(axes))

    def resized(self, i: int, size: Dim = None) -> Meaning:
        """Return the meaning where an axis has another extent: some of its positions, or more."""
        return self.put({i: self._other(i, size)})

    def _other(self, i: int, size: Dim) -> Axis:
        """Return an axis with another extent; what is only part of a position has none."""
        atoms = self.axes[i].atoms
        if self.cut(i):
            return Axis(tuple(replace(a, size=None) for a in atoms))
        finest = bool(atoms) and atoms[0].letter in SPACE[3] and not atoms[0].level
        part = len(atoms) != 1 or not (self.whole(i) or finest or atoms[0].letter == "C")
        return UNKNOWN if part else Axis((replace(atoms[0], size=size),))

    def fitted(self, shape: Sequence[Dim]) -> Meaning:
        """Return the meaning for a tensor of this shape; an axis that does not fit is unknown."""
        changed = {}
        for i, (axis, dim) in enumerate(zip(self.axes, shape, strict=True)):
            if self.whole(i):
                changed[i] = Axis((replace(axis.atoms[0], size=dim),))
            elif isinstance(dim, int) and axis.size is not None and axis.atoms:
                changed[i] = axis.fitted(dim)
                if not changed[i].atoms:
                    changed[i] = self._other(i, dim)
        changed = {i: axis for i, axis in changed.items() if axis != self.axes[i]}
        return self.put(changed) if changed else self

    def cut(self, i: int) -> str:
        """Return the letter of an axis of positions that are cut, of whose rest nothing is known.

        Returns:
            "" for any other axis.
        """
        first, *rest = (a.letter for a in self.axes[i].atoms or (Atom("?", None),))
        return first if first in SPACE[3] and set(rest) == {"?"} else ""

    def moved(self, i: int, by: int) -> Meaning:
        """Return the meaning of a tensor that was rolled round along an axis."""
        letter, size = self.whole(i) or self.cut(i), self.axes[i].size
        if letter in ("C", "N"):
            return self
        if not letter:
            return self.put({i: UNKNOWN})
        shift = dict(self.rolled).get(letter, 0) + by
        shifts = {**dict(self.rolled), letter: shift % size if size else shift}
        return replace(self, rolled=tuple(sorted(kv for kv in shifts.items() if kv[1])))

    def reshaped(
        self, source: Sequence[Dim], target: Sequence[Dim], *, finer: bool = False
    ) -> Meaning:
        """Return the meaning of a tensor of the same elements under another shape.

        Args:
            source: The shape.
            target: The other.
            finer: Take channels that lie below positions for what they are: finer positions.
        """
        parts = [(i, part) for i, axis in enumerate(self.axes) for part in _parts(axis, source[i])]
        owners, sizes = [i for i, _ in parts], [part.atoms[0].size for _, part in parts]
        for k, (i, part) in enumerate(parts):
            sizes[k] = source[i] if part.padded else sizes[k]
        batch = bool(parts) and parts[0][1].atoms[0].letter == "N"
        found = factors(sizes, target, batch=batch, owners=owners)
        homes: list[list[Axis]] = [[] for _ in target]
        cuts, seen = Counter(f.source for f in found), Counter[int | None]()
        for f, home in zip(found, _homes(found), strict=True):
            seen[f.source] += 1
            if f.source is not None and home is not None:
                below = cuts[f.source] - seen[f.source]
                homes[home].append(_piece(parts[f.source][1], f, cuts[f.source], below))
        lost = [_scaled(axis) for axis in self.axes]
        lost += [_above(parts[f.source][1]) for f in found if f.source is not None and not f.sure]
        return self._with([_product(home) for home in homes], lost, finer=finer)

    def _with(self, axes: Sequence[Axis], gone: Iterable[Axis], *, finer: bool = False) -> Meaning:
        """Return the meaning of other axes.

        The digits below one that is gone count in more than one place, so that they say nothing.
        """
        parted = {i: axis for i, axis in enumerate(axes) if _is_finer(axis, axes)}
        named = {i: _finer(axis, axes) if finer else UNKNOWN for i, axis in parted.items()}
        clear = [axis if named.get(i, axis).atoms else UNKNOWN for i, axis in enumerate(axes)]
        kept = {(a.letter, a.level) for axis in clear for a in axis.atoms}
        lost: dict[str, int] = {}
        for atom in (a for axis in (*gone, *axes) for a in axis.atoms if a.size != 1):
            if (atom.letter, atom.level) not in kept:
                lost[atom.letter] = max(atom.level, lost.get(atom.letter, 0))
        hidden = [
            replace(axis, atoms=tuple(
                Atom("?", a.size) if a.level < lost.get(a.letter, 0) else a for a in axis.atoms
            ))
            for axis in clear
        ]  # fmt: skip
        hidden = [named.get(i, axis) for i, axis in enumerate(hidden)]
        return replace(self, axes=tuple(settled(hidden)))

    def read(self) -> Layout:
        """Return what the axes are called."""
        letters = "".join(self._letter(axis) for axis in self.axes)
        rolled = any(letter in (a.letter for a in self.atoms) for letter, _ in self.rolled)
        if "T" not in letters:
            return Layout(letters, rolled=rolled)
        tokens = self.axes[letters.index("T")]
        grid = tuple(a.size for a in tokens.wide)
        beside = tokens.before, tokens.behind or 0
        return Layout(letters, grid, *beside, rolled, more=tokens.more)

    def pieces(
        self, shape: Sequence[Dim], letters: Container[str]
    ) -> tuple[tuple[Piece, ...], ...]:
        """Return what the axes are products of; nothing where that is not known of all of them.

        Args:
            shape: The tensor's.
            letters: The directions of space that there are; ones along others mean nothing.
        """
        found = []
        for axis, size in zip(self.axes, shape, strict=True):
            if axis.padded or not (axis.known or size == 1):
                return ()
            atoms = [a for a in axis.atoms if a.size != 1 or a.letter in letters]
            found.append(tuple((a.letter, a.size, a.level) for a in atoms))
        return tuple(found)

    def _letter(self, axis: Axis) -> str:
        """Name an axis: tokens, channels with offsets among them, or the only atom."""
        atoms, mine = axis.wide, "".join(a.letter for a in axis.wide)
        depth = Counter(a.letter for a in self.atoms if a.size != 1 or a in atoms)
        if not axis.known:
            return "?"
        if len(atoms) > 1:
            tokens = mine in (SPACE[2], SPACE[3]) and sum(depth[c] for c in SPACE[3]) == len(mine)
            inner = all(a.level < depth[a.letter] - 1 for a in atoms if a.letter != "C")
            channels = set(mine) <= {"C", *SPACE[3]} and mine.count("C") == depth["C"] > 0
            return "T" if tokens else "C" if channels and inner else "?"
        if depth[mine] == 1:
            return mine
        if mine not in SPACE[3]:
            return "?"
        below = "?" if atoms[0].level else mine.lower()
        return mine if atoms[0].level == depth[mine] - 1 else below


def plain(letters: str, shape: Sequence[Dim]) -> Meaning:
    """Return the meaning of axes with one letter each; "?" is an unknown one."""
    named = zip(letters, shape, strict=True)
    return Meaning(tuple(UNKNOWN if c == "?" else Axis((Atom(c, d),)) for c, d in named))


def _is_finer(axis: Axis, axes: Sequence[Axis]) -> bool:
    """Tell whether part of the channels lies below whole positions, as in a shuffle of pixels."""
    atoms = [a for other in axes for a in other.atoms]
    tops = {a.letter: max(b.level for b in atoms if b.letter == a.letter) for a in axis.wide}
    high = [a.letter for a in axis.wide if a.letter == "C" or a.level == tops[a.letter]]
    space = [c in SPACE[3] for c in high]
    parted = 0 < high.count("C") < sum(a.letter == "C" for a in atoms)
    return parted and any(space) and "C" in high[space.index(True) :]


def _finer(axis: Axis, axes: Sequence[Axis]) -> Axis:
    """Return an axis whose channels below whole positions are finer positions, which they are.

    Nothing is known of it where there are other positions of that direction.
    """
    letter, below = axis.wide[0].letter, axis.wide[1:]
    others = sum(a.letter == letter for other in axes for a in other.wide)
    if letter == "C" or others != 1 or any(a.letter != "C" for a in below):
        return UNKNOWN
    low = axis.wide[0].level - len(below)
    finer = [replace(a, letter=letter, level=low + k) for k, a in enumerate(reversed(below))]
    return replace(axis, atoms=(axis.wide[0], *reversed(finer)))


def _parts(axis: Axis, size: Dim) -> Iterator[Axis]:
    """Yield what a reshape may put elsewhere: the atoms, or the axis as it is."""
    if not axis.atoms:
        yield Axis((Atom("?", size),))
    elif axis.padded:
        yield _scaled(axis)
    else:
        yield from (Axis((a,)) for a in _scaled(axis).atoms)


def _scaled(axis: Axis) -> Axis:
    """Make room between levels."""
    return replace(axis, atoms=tuple(replace(a, level=a.level * _CUTS) for a in axis.atoms))


def _above(part: Axis) -> Axis:
    """Return what stands above all that a part may be cut into."""
    return replace(part, atoms=tuple(replace(a, level=a.level + _CUTS - 1) for a in part.atoms))


def _homes(found: Sequence[Factor]) -> Iterator[int | None]:
    """Yield the target axis of every factor: ones without any stay with what follows them."""
    targets = [f.target for f in found]
    for k in range(len(found)):
        near = [t for t in (*targets[k:], *targets[k::-1]) if t is not None]
        yield near[0] if near else None


def _piece(part: Axis, factor: Factor, cuts: int, below: int) -> Axis:
    """Return what a factor is of a part that was cut into some, so many of them below it."""
    if factor.sure and cuts == 1:
        return part
    atom = part.atoms[0]
    if not factor.sure or part.padded or cuts > _CUTS:
        return Axis((Atom("?", factor.size),))
    return Axis((replace(atom, size=factor.size, level=atom.level + below),))


def _product(parts: Sequence[Axis]) -> Axis:
    wide = [p for p in parts if p.padded or p.atoms[0].size != 1]
    if any(p.padded for p in wide):
        return wide[0] if len(wide) == 1 else UNKNOWN
    return Axis(tuple(a for part in parts for a in part.atoms))
