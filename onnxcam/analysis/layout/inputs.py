"""What the inputs say of the axes behind them: which is first, and which were merged into others.

An image's axes of space are called height and width in the order in which the *input* has them,
whatever a convolution behind a transpose takes for which; and where the graph merges an axis of
the input with the batch (frames, tiles, channels that are filtered one by one), that axis is still
what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from onnxcam.analysis.layout.atoms import Atom, Axis
from onnxcam.analysis.layout.meaning import Meaning
from onnxcam.analysis.layout.records import SPACE
from onnxcam.graph.emit import Dim


def parted(meaning: Meaning, shape: Sequence[Dim]) -> Meaning | None:
    """Return the meaning of an input of whose batch a part is another axis; None for any other.

    Args:
        meaning: What the graph behind it says of its axes.
        shape: The input's.

    Returns:
        The meaning with a batch in front; the other axis has the channels, where there are none,
        else it is one more direction of space: an own map of every frame.
    """
    batch = [i for i, axis in enumerate(meaning.axes) for a in axis.wide if a.letter == "N"]
    first = meaning.axes[0]
    at_front = batch[:1] == [0] or (shape[0] == 1 and not first.known)
    others = [i for i in batch if i != 0]
    if not at_front or len(others) != 1 or len(meaning.axes[others[0]].wide) != 1:
        return None
    letters = {a.letter for i, axis in enumerate(meaning.axes) if i != 0 for a in axis.wide}
    there = sum(c in letters for c in SPACE[3])
    letter = "C" if "C" not in letters else SPACE[min(there + 1, 3)][0]
    if letter in letters:
        return None
    own = {0: Atom("N", shape[0]), others[0]: Atom(letter, shape[others[0]])}
    axes = (Axis((own[i],)) if i in own else x for i, x in enumerate(meaning.axes))
    return Meaning(tuple(replace(axis, atoms=axis.wide) for axis in axes))


def directions(inputs: Iterable[Meaning]) -> dict[str, str]:
    """Return what the directions of space are called in the order of an input, by their letters."""
    orders = [
        list(dict.fromkeys(a.letter for x in meaning.axes for a in x.wide if a.letter in SPACE[3]))
        for meaning in inputs
    ]
    order = max(orders, key=len, default=[])
    rest = [c for c in SPACE[3] if c not in order]
    names = SPACE[len(order)]
    return dict(zip([*order, *rest], [*names, *(c for c in SPACE[3] if c not in names)], strict=True))


def turned(meaning: Meaning, names: Mapping[str, str]) -> Meaning:
    """Return a meaning with other names for the directions of space."""
    if all(old == new for old, new in names.items()):
        return meaning
    axes = tuple(
        replace(x, atoms=tuple(replace(a, letter=names.get(a.letter, a.letter)) for a in x.atoms))
        for x in meaning.axes
    )
    return Meaning(axes, tuple((names.get(c, c), by) for c, by in meaning.rolled))
