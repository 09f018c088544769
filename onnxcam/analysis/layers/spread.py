"""Which layers tell where in every direction of the input something is."""

from __future__ import annotations

from collections.abc import Container, Mapping
from itertools import islice

from onnxcam.analysis.layers.path import moves, producer
from onnxcam.analysis.layers.records import Candidate
from onnxcam.analysis.layout import Layout, spatial_shape
from onnxcam.graph.emit import Tensor
from onnxcam.graph.ops import Trait, has


def is_part(tensor: Tensor, candidate: Candidate) -> bool:
    """Tell whether a layer is cut out of another one: less than three quarters of its positions."""
    if producer(tensor) not in ("Slice", "Split") or candidate.layout is None:
        return False
    whole = spatial_shape(tensor.inputs[0].inputs[0], candidate.layout)
    part = spatial_shape(tensor, candidate.layout)
    pairs = zip(whole, part, strict=True)
    return any(isinstance(a, int) and isinstance(b, int) and 4 * b < 3 * a for a, b in pairs)


def in_all_directions(
    usable: dict[str, Candidate], tensors: Mapping[str, Tensor], source: Layout | None
) -> dict[str, Candidate]:
    """Return the layers without those that are no default where there are others.

    A layer of one value a frame says nothing of where in the frames something is; one whose
    positions share an axis with others is a step inside of something, and so are positions in the
    place of the batch, unless they stay there to the end.
    """
    space = None if source is None or source.regrouped.strange else source.regrouped.space
    rank = 0 if source is None or space is None else len(source.grid) or len(space)
    layouts = {name: c.layout for name, c in usable.items() if c.layout is not None}
    ranks = {name: directions(usable[name]) for name in layouts}
    full = {name for name in layouts if ranks[name] == rank} or set(layouts)
    whole = [name for name in usable if name in full and not layouts[name].pieces]
    plain = [name for name in whole if not _is_input(tensors[name])]
    order = list(usable)
    behind = order[order.index(plain[-1]) + 1 :] if plain else order
    merged = {n for n in behind if n in full and "?" not in layouts[n].axes}
    kept = {*plain, *merged} or full
    return {name: c for name, c in usable.items() if name in kept}


def _is_input(tensor: Tensor) -> bool:
    """Tell whether a tensor is an input of the model that was only moved."""
    while tensor.inputs and moves(tensor.inputs[0]):
        tensor = tensor.inputs[0].inputs[0]
    return not tensor.inputs


def not_pooled_away(
    usable: dict[str, Candidate], tensors: Mapping[str, Tensor]
) -> dict[str, Candidate]:
    """Return the layers without those of which a pool left one position in some direction.

    Behind a pool over each frame, positions are frames alone.
    """
    sizes = {
        name: () if c.layout is None else spatial_shape(tensors[name], c.layout)
        for name, c in usable.items()
    }
    lost: dict[str, set[int]] = {}
    for name, size in sizes.items():
        fed = [(n, t.name) for n in tensors[name].inputs for t in n.inputs if t.name in usable]
        for node, source in fed:
            pools = has(node, Trait.POOL, Trait.GLOBAL_POOL, Trait.REDUCES)
            before, kept = sizes[source], lost.get(source, set())
            single = {i for i, (d, _) in enumerate(zip(size, before, strict=False)) if d == 1}
            gone = {i for i in single if i in kept or (pools and before[i] != 1)}
            lost.setdefault(name, set()).update(gone)
    return {name: c for name, c in usable.items() if not lost.get(name)} or usable


def not_of_tiles_alone(
    usable: dict[str, Candidate], tensors: Mapping[str, Tensor], narrow: Container[int]
) -> dict[str, Candidate]:
    """Return the layers of tiles in the batch where a pool leaves a position of each; else all.

    Where tiles go through a network as a batch, and each is pooled, what comes behind knows only
    which tile it is of: mostly it is the scores of each already.

    Args:
        usable: The layers, in graph order.
        tensors: Their tensors, by name.
        narrow: Ids of the tensors that all of the score passes through.
    """
    cut: set[str] = set()
    for place, (name, candidate) in enumerate(usable.items()):
        merged, rest = _of_batch(candidate)
        if cut & (merged - rest) and id(tensors[name]) in narrow:
            before = islice(usable.items(), place)
            return {n: c for n, c in before if _of_batch(c)[0]}
        cut |= merged & rest
    return usable


def _of_batch(candidate: Candidate) -> tuple[set[str], set[str]]:
    """Return the directions that the first axis has beside the batch, and those of the others."""
    pieces = () if candidate.layout is None else candidate.layout.pieces
    axes = [{letter for letter, _, _ in axis} for axis in pieces]
    if not axes or "C" in axes[0]:
        return set(), set()
    return axes[0] & set("DHW"), set().union(*axes[1:])


def directions(candidate: Candidate) -> int:
    """Return how many directions a map of a layer has, 0 where it is not known."""
    layout = candidate.layout
    return 0 if layout is None else len(layout.grid) or len(layout.regrouped.space)
