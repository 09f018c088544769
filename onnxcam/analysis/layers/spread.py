"""Which layers tell where in every direction of the input something is."""

from __future__ import annotations

from collections.abc import Mapping

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


def directions(candidate: Candidate) -> int:
    """Return how many directions a map of a layer has, 0 where it is not known."""
    layout = candidate.layout
    return 0 if layout is None else len(layout.grid) or len(layout.regrouped.space)
