"""What the inputs say of the axes behind them: which is first, and which were merged into others.

An image's axes of space are called height and width in the order in which the *input* has them,
whatever a convolution behind a transpose takes for which; and where the graph merges an axis of
the input with the batch (frames, tiles, channels that are filtered one by one), that axis is still
what it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from onnxcam.analysis.layout.atoms import Atom, Axis, settled
from onnxcam.analysis.layout.meaning import Meaning, plain
from onnxcam.analysis.layout.records import SPACE, Layout
from onnxcam.graph.emit import Dim


def parted(meaning: Meaning | None, shape: Sequence[Dim]) -> Meaning | None:
    """Return the meaning of an input of whose batch a part is something else; None for any other.

    Args:
        meaning: What the graph behind it says of its axes.
        shape: The input's.

    Returns:
        The meaning with a batch in front. Of the rest, what lies above positions in an axis counts
        their tiles or patches. An axis of its own has the channels, where there are none, else it
        is one more direction of space: an own map of every frame.
    """
    if meaning is None:
        return None
    batch = [(i, a) for i, axis in enumerate(meaning.axes) for a in axis.wide if a.letter == "N"]
    at_front = bool(batch) and (batch[0][0] == 0 or (shape[0] == 1 and not meaning.axes[0].known))
    if not at_front or all(i == 0 for i, _ in batch):
        return None
    if meaning.axes[0].known and batch[0][1].level < max(a.level for _, a in batch):
        return None
    letters = {a.letter for i, axis in enumerate(meaning.axes) if i != 0 for a in axis.wide}
    axes = [Axis((Atom("N", shape[0]),))]
    for axis, size in zip(meaning.axes[1:], shape[1:], strict=True):
        own = _own_letter(letters) if [a.letter for a in axis.wide] == ["N"] else None
        if own is not None:
            letters.add(own)
            axes.append(Axis((Atom(own, size),)))
            continue
        axes.append(replace(axis, atoms=tuple(_tiled(axis.wide))))
    if any(a.letter == "N" for axis in axes[1:] for a in axis.atoms):
        return None
    return Meaning(tuple(settled(axes)))


def pictured(meaning: Meaning | None, shape: Sequence[Dim]) -> Meaning | None:
    """Return the meaning of an input that nothing is known of, but that has a picture's shape.

    A transformer that cuts the picture into patches has no operator that says what axes are; an
    axis of 1 or 3 beside two that are longer has the channels.
    """
    known = meaning is not None and any(a.letter in SPACE[3] for a in meaning.atoms)
    narrow = [i for i, d in enumerate(shape) if i in (1, 3) and d in (1, 3)]
    if known or len(shape) != 4 or len(narrow) != 1:
        return None
    if any(d in (1, 2, 3) for i, d in enumerate(shape) if i and i not in narrow):
        return None
    return plain("NCHW" if narrow == [1] else "NHWC", shape)


def patched(meaning: Meaning | None, shape: Sequence[Dim]) -> Meaning | None:
    """Return the meaning of an input whose positions are cut into patches; None for any other.

    What lies below whole positions and is summed up, of that the graph behind says nothing. Where
    the channels are another axis it is the finer positions.
    """
    if meaning is None or not any(a.letter == "C" for a in meaning.atoms):
        return None
    letters = Counter(a.letter for axis in meaning.axes for a in axis.wide)
    axes = list(meaning.axes)
    for i, axis in enumerate(axes):
        if (letter := meaning.cut(i)) and letters[letter] == 1 < len(axis.wide):
            finer = (Atom(letter, a.size, -k) for k, a in enumerate(axis.wide))
            axes[i] = replace(axis, atoms=tuple(finer))
    return Meaning(tuple(settled(axes)), meaning.rolled) if axes != list(meaning.axes) else None


def _own_letter(letters: Container[str]) -> str | None:
    """Return what an axis is of which the rest of the graph makes part of the batch."""
    there = sum(c in letters for c in SPACE[3])
    letter = "C" if "C" not in letters else SPACE[min(there + 1, 3)][0]
    return None if letter in letters else letter


def _tiled(atoms: Sequence[Atom]) -> Iterator[Atom]:
    """Yield the atoms of an axis, with those of the batch that stand before positions as tiles."""
    for i, atom in enumerate(atoms):
        after = next((a for a in atoms[i:] if a.letter != "N"), atom)
        tiles = atom.letter == "N" and after.letter in SPACE[3]
        above = len(atoms) - i  # more than any level of the positions that are counted
        yield replace(atom, letter=after.letter, level=after.level + above) if tiles else atom


class Reader:
    """Names the axes of tensors as the inputs have them.

    Args:
        inputs: What is known of the inputs.
    """

    def __init__(self, inputs: Sequence[Meaning]) -> None:
        self._names = _directions(inputs)
        wide = [a for m in inputs for axis in self._turned(m).axes for a in axis.wide]
        self._space = {a.letter for a in wide if a.letter in SPACE[3]} or set(SPACE[3])
        self._one = bool(wide) and all(a.size == 1 for a in wide if a.letter == "N")

    def read(self, meaning: Meaning, shape: Sequence[Dim], *, is_input: bool) -> Layout:
        """Name the axes of a tensor; of what letters do not say, keep what they are products of."""
        meaning = self._turned(meaning)
        layout = meaning.read()
        if is_input:
            layout = _completed(layout, meaning)
        no_batch = self._one and "N" not in layout.axes
        narrow = any(
            size == 1 and axis.known and {a.letter for a in axis.atoms} <= self._others
            for axis, size in zip(meaning.axes, shape, strict=True)
        )
        if not (layout.strange or narrow or no_batch):
            return layout
        pieces = meaning.pieces(shape, self._space)
        told = {letter for axis in pieces for letter, _, _ in axis}
        if not (told & set(SPACE[3])) or not (no_batch or "N" in told):
            return layout
        return replace(layout, pieces=pieces)

    @property
    def _others(self) -> set[str]:
        """The directions of space that no input has."""
        return set(SPACE[3]) - self._space

    def _turned(self, meaning: Meaning) -> Meaning:
        """Return a meaning with the names that the inputs have for the directions of space."""
        names = self._names
        if all(old == new for old, new in names.items()):
            return meaning
        axes = []
        for axis in meaning.axes:
            atoms = (replace(a, letter=names.get(a.letter, a.letter)) for a in axis.atoms)
            axes.append(replace(axis, atoms=tuple(atoms)))
        return Meaning(tuple(axes), tuple((names.get(c, c), by) for c, by in meaning.rolled))


def _directions(inputs: Sequence[Meaning]) -> dict[str, str]:
    """Return what the directions of space are called in the order of an input, by their letters."""
    orders = [
        list(dict.fromkeys(a.letter for x in meaning.axes for a in x.wide if a.letter in SPACE[3]))
        for meaning in inputs
    ]
    order = max(orders, key=len, default=[])
    rest = [c for c in SPACE[3] if c not in order]
    names = SPACE[len(order)] + "".join(c for c in SPACE[3] if c not in SPACE[len(order)])
    return dict(zip([*order, *rest], names, strict=True))


def _completed(layout: Layout, meaning: Meaning) -> Layout:
    """An input's only unknown axis is the one letter, batch or channel, that is missing."""
    letters = {a.letter for axis in meaning.axes for a in axis.wide}
    missing = [c for c in "NC" if c not in letters]
    if len(missing) == 1 and layout.axes.count("?") == 1:
        return replace(layout, axes=layout.axes.replace("?", missing[0]))
    return layout
