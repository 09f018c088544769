"""Windows that a Gather takes by a matrix of indices, as exporters write an unfold."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.analysis.layout.atoms import Atom, Axis
from onnxcam.analysis.layout.meaning import Meaning
from onnxcam.graph import ir
from onnxcam.graph.emit import const_value


def unfolded(node: ir.Node, meaning: Meaning, forward: bool) -> Meaning | None:
    """A Gather of windows: of two axes, one counts them, the other the places in a window.

    Where the windows stand apart they are cells, and the places offsets in them; where they
    overlap the places are channels, of which a convolution by hand is made.
    """
    index, rank = const_value(node.inputs[1]), len(meaning.axes)
    axis = int(node.attrs.get("axis", 0)) % (rank - (not forward))
    steps = _steps(index)
    if steps is None:
        return None
    count = int(steps[0] < steps[1])  # of the two, the windows
    size, inside = index.shape[count], index.shape[1 - count]  # type: ignore[union-attr]
    if not forward:
        return meaning.picked([*range(axis), axis + count, *range(axis + 2, rank)]).resized(axis)
    old = meaning.axes[axis]
    letter = meaning.whole(axis)
    if letter not in ("D", "H", "W"):
        return None
    pair = [Axis((Atom(letter, size, 1),)), Axis((Atom(letter, inside, 0),))]
    if steps[count] != inside:
        pair = [Axis((Atom(letter, size),)), Axis((Atom("C", inside, -1),))]
    assert old.atoms
    axes = [*meaning.axes[:axis], *(pair if not count else pair[::-1]), *meaning.axes[axis + 1 :]]
    return Meaning(tuple(axes), meaning.rolled)


def _steps(index: Any) -> tuple[int, int] | None:
    """Return the two steps of a matrix of indices; None where it is no such matrix."""
    if index is None or min(index.shape) < 2:
        return None
    rows, columns = np.diff(index, axis=0), np.diff(index, axis=1)
    even = (rows == rows[0, 0]).all() and (columns == columns[0, 0]).all()
    return (int(rows[0, 0]), int(columns[0, 0])) if even and rows[0, 0] != columns[0, 0] else None
