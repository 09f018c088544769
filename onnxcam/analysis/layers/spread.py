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
    positions lie beside the batch is a step inside of something, where they come back from there.
    """
    space = None if source is None or source.regrouped.strange else source.regrouped.space
    rank = 0 if source is None or space is None else len(source.grid) or len(space)
    layouts = {name: c.layout for name, c in usable.items() if c.layout is not None}
    ranks = {name: directions(usable[name]) for name in layouts}
    full = {name for name in layouts if ranks[name] == rank} or set(layouts)
    plain = [name for name in usable if name in full and not layouts[name].pieces]
    order = list(usable)
    behind = set(order[order.index(plain[-1]) + 1 :] if plain else order) & full
    copies = set(plain[-1:])  # of the last plain layer: it stands for them
    for name in (n for n in order if n in behind):
        node = tensors[name].inputs[0]
        if moves(node) and any(t.name in copies for t in node.inputs):
            copies.add(name)
    kept = {*plain, *(behind - copies)}
    return {name: c for name, c in usable.items() if name in kept}


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
