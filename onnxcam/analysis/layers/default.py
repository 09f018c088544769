"""The default feature layer: what an expert would name, and what could not be read behind it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from onnxcam.analysis.layers.centred import centring, users
from onnxcam.analysis.layers.path import ancestors, moves, producer
from onnxcam.analysis.layers.records import ONLY, SHARED, Candidate
from onnxcam.analysis.layers.spread import (
    directions,
    in_all_directions,
    is_part,
    not_of_tiles_alone,
    not_pooled_away,
)
from onnxcam.analysis.layout import Layout
from onnxcam.graph import ir
from onnxcam.graph.contrib import cuts_at_zero
from onnxcam.graph.curves import activation, normalisation
from onnxcam.graph.emit import Dim, Tensor, const_value
from onnxcam.graph.ops import Trait, has, traits_of


@dataclass(frozen=True)
class Layers:
    """What the choice is made of.

    Attributes:
        candidates: All of them, in graph order.
        tensors: Their tensors, by name.
        nodes: The path from the input to the score, producers first.
        narrow: Ids of the tensors that all of the score passes through.
        own: Ids of the tensors that are the scores already.
        batch: How many inputs there are.
        source: The meaning of the input's axes.
    """

    candidates: Sequence[Candidate]
    tensors: dict[str, Tensor]
    nodes: Sequence[ir.Node]
    narrow: set[int]
    own: set[int]
    batch: Dim
    source: Layout | None


@dataclass(frozen=True)
class Default:
    """The default feature layer.

    Attributes:
        feature: The layer, None where none is usable.
        reason: Why (not).
        warnings: What the reader of a map that it is in has to know, in words.
        beside: What the reader of a map of it alone has to know besides, "" for nothing.
    """

    feature: Candidate | None
    reason: str
    warnings: tuple[str, ...] = ()
    beside: str = ""


def default_feature(layers: Layers) -> Default:
    """Choose a feature layer."""
    usable = {c.name: c for c in layers.candidates if c.usable}
    usable = {n: c for n, c in usable.items() if not is_part(layers.tensors[n], c)} or usable
    before = {n: c for n, c in usable.items() if id(layers.tensors[n]) not in layers.own}
    if not usable:
        return Default(None, _no_layer(layers.candidates))
    whole = not_of_tiles_alone(before or usable, layers.tensors, layers.narrow)
    spread = in_all_directions(whole, layers.tensors, layers.source)
    spread = not_pooled_away(spread, layers.tensors)
    feature, reason, last = _chosen(layers, spread)
    shared = _shared(layers, last)
    if shared is not None and id(layers.tensors[last.name]) not in layers.narrow:
        return Default(None, f"the last layers, as {shared.name!r}, cannot be one: {shared.reason}")
    feature, passed = _uncentred(layers, usable, feature)
    unread = _unread(layers, last) or _with_more_directions(layers, usable, last)
    if shared is not None and not unread:
        unread = f"the map is of an early layer: of {shared.name!r} {shared.reason}"
    if unread:
        reason = reason.replace("the last layer", "the last layer that can be read", 1)
    reason += passed + _strange(layers, feature)
    beside = _beside(layers, usable, feature)
    return Default(feature, reason, (unread,) if unread else (), beside)


def _shared(layers: Layers, last: Candidate) -> Candidate | None:
    """Return a layer behind the last one whose batch holds more than the inputs."""
    behind = layers.candidates[layers.candidates.index(last) + 1 :]
    return next((c for c in reversed(behind) if SHARED in c.reason), None)


def _no_layer(candidates: Sequence[Candidate]) -> str:
    shared = next((c for c in reversed(candidates) if SHARED in c.reason), None)
    if shared is not None:
        return f"the last layers, as {shared.name!r}, cannot be one: {shared.reason}"
    single = next((c for c in candidates if ONLY in c.reason), None)
    if single is None:
        return "no tensor on the path to the score has a spatial, time or token extent"
    return f"of no layer every position reaches the score ({single.name!r}: {single.reason})"


def _chosen(layers: Layers, usable: dict[str, Candidate]) -> tuple[Candidate, str, Candidate]:
    """Return the feature layer, why, and the last layer, which it was found from."""
    whole = [c for c in usable.values() if id(layers.tensors[c.name]) in layers.narrow]
    last = (whole or list(usable.values()))[-1]
    where = f"the last layer before the score that still is a {last.reason}"
    if any(ONLY in c.reason for c in layers.candidates[layers.candidates.index(last) :]):
        where = f"the last layer of which every position reaches the score, a {last.reason}"
    elif whole and last is not list(usable.values())[-1]:
        where = f"the last layer that all of the score passes through and that is a {last.reason}"
    found, passed = _before(layers.tensors[last.name], usable, is_activation, _moves_or_pools)
    if found is not None:
        return usable[found.name], f"{where}{passed}; an activation ({producer(found)})", last
    found, passed = _before(layers.tensors[last.name], usable, _is_norm, _projects)
    if found is None:
        return last, where, last
    return usable[found.name], f"{where}{passed}; a normalisation", last


def _uncentred(
    layers: Layers, usable: dict[str, Candidate], feature: Candidate
) -> tuple[Candidate, str]:
    """Step over a normalisation over space: before it the gradient's mean over space is zero."""
    node = centring(layers.tensors[feature.name], feature.layout, layers.nodes)
    if node is None:
        return feature, ""
    normal = node.outputs[0]
    behind, after = [normal], users(normal, layers.nodes)
    while len(after) == 1 and moves(after[0]):  # a GroupNormalization stands between reshapes
        behind, after = [*behind, *after[0].outputs], users(after[0].outputs[0], layers.nodes)
    bent = [y for n in after for y in n.outputs if is_activation(y)]
    found = [t for t in (*behind, *bent) if t.name in usable]
    if not found:
        return feature, ""
    return usable[found[-1].name], f"; behind {node.op}, before which mean gradients are zero"


def _unread(layers: Layers, last: Candidate) -> str:
    """Say how many layers behind the default one could not be read, "" for none."""
    place = layers.candidates.index(last)
    for i, c in enumerate(layers.candidates[place:], place):  # inside an attention that was read
        place = i if c.layout is not None and c.layout.space else place
    lost = [c for c in layers.candidates[place + 1 :] if c.unread and _is_layer(layers, c)]
    if not lost:
        return ""
    many = "a later layer" if len(lost) == 1 else f"{len(lost)} later layers"
    return (
        f"{many} could not be read, so the map may be of too early a layer: "
        f"{lost[0].name!r} ({lost[0].op}): {lost[0].reason}"
    )


def _with_more_directions(layers: Layers, usable: dict[str, Candidate], last: Candidate) -> str:
    """Say that later layers have more directions than the input, "" where none has.

    A spectrogram is made of a signal's channels, so what is behind it lies in no place of the
    signal alone.
    """
    rank = directions(last)
    behind = layers.candidates[layers.candidates.index(last) + 1 :]
    more = [c for c in behind if c.name in usable and directions(c) > rank]
    places = ((c, id(layers.tensors[c.name])) for c in more)
    more = [c for c, place in places if place in layers.narrow and place not in layers.own]
    if not more:
        return ""
    return (
        f"later layers have more directions than the input, so the map is of an early layer: name "
        f"{more[-1].name!r}, a {more[-1].reason}, for a map of its own"
    )


def _beside(layers: Layers, usable: dict[str, Candidate], feature: Candidate) -> str:
    """Say that a part of the score passes the layer by, "" where none does.

    It does where two networks share an input (an ensemble), or one network sees it twice (a
    flipped copy). Where all of the score passes through a later layer, the one before its
    rounding, pool or normalisation stands for it.
    """
    tensors = layers.tensors
    if any(id(tensors[name]) in layers.narrow for name in usable):
        return ""
    chosen = tensors[feature.name]
    before = {id(t) for t in ancestors(chosen)}
    others = [tensors[n] for n in usable if id(tensors[n]) not in before]
    others = [t for t in others if not any(a is chosen for a in ancestors(t))]
    said = "a part of the score passes this layer by, and is not in the map"
    if not others:
        return said
    other = next((t for t in reversed(others) if is_activation(t)), others[-1])
    return f"{said}: it passes through {other.name!r}. Name both layers and fuse their maps"


def _is_layer(layers: Layers, candidate: Candidate) -> bool:
    """Tell whether a person would call a tensor a layer, and it can have channels and places."""
    tensor = layers.tensors[candidate.name]
    if id(tensor) in layers.own or moves(tensor.inputs[0]):
        return False
    dims = list(candidate.shape or ())
    if layers.batch in dims:
        dims.remove(layers.batch)
    return candidate.shape is None or sum(d != 1 for d in dims) > 1


def _strange(layers: Layers, feature: Candidate) -> str:
    """Name an operator behind the feature layer that nothing is known of, "" for none."""
    tensor = layers.tensors[feature.name]
    nodes = layers.nodes
    place = next(i for i, n in enumerate(nodes) if any(t is tensor for t in n.outputs))
    strange = (n for n in nodes[place + 1 :] if not traits_of(n.domain, n.op))
    node = next(strange, None)
    return "" if node is None else f"; behind it nothing is known of {node.domain}::{node.op}"


def _before(
    tensor: Tensor,
    usable: Container[str],
    wanted: Callable[[Tensor], bool],
    through: Callable[[ir.Node], bool],
) -> tuple[Tensor | None, str]:
    """Go back from a tensor through some nodes to one that is wanted; say what was passed."""
    passed = ""
    while not wanted(tensor):
        node = _unscaled(tensor.inputs[0])
        source = next((t for t in map(_unrounded, node.inputs) if t.name in usable), None)
        if source is None or not through(node):
            return None, ""
        tensor, passed = source, f", before its {node.op}"
    return tensor, passed


def _unrounded(tensor: Tensor) -> Tensor:
    """Return what a tensor is the rounding of, else the tensor."""
    made = bool(tensor.inputs) and has(tensor.inputs[0], Trait.QUANTISES)
    return tensor.inputs[0].inputs[0] if made else tensor


def _unscaled(node: ir.Node) -> ir.Node:
    """Return the product of integers that a Mul gives their scale back, else the node."""
    casts = (t.inputs[0] for t in node.inputs if node.op == "Mul" and producer(t) == "Cast")
    whole = (c.inputs[0].inputs[0] for c in casts if c.inputs[0].inputs)
    return next((n for n in whole if n.op == "MatMulInteger"), node)


def is_activation(tensor: Tensor) -> bool:
    """Tell whether a tensor is an activation's output: by its operator, or by what it computes."""
    if not tensor.inputs:
        return False
    node = tensor.inputs[0]
    if has(node, Trait.ACTIVATION) or cuts_at_zero(node):
        return True
    if node.op == "DequantizeLinear" and producer(node.inputs[0]) == "QuantizeLinear":
        rounding = node.inputs[0].inputs[0]
        return cuts_at_zero(rounding) or is_activation(rounding.inputs[0])
    if has(node, Trait.SAME) or not has(node, Trait.ELEMENTWISE):
        return False
    return activation(tensor) is not None


def _moves_or_pools(node: ir.Node) -> bool:
    return moves(node) or has(node, Trait.POOL)


def _projects(node: ir.Node) -> bool:
    """Tell whether a node cuts off class tokens or is a product or a sum with a constant."""
    fixed = any(const_value(t) is not None for t in node.inputs)
    linear = has(node, Trait.PRODUCT, Trait.BIAS) and fixed
    return linear or node.op == "Slice" or _moves_or_pools(node)


def _is_norm(tensor: Tensor) -> bool:
    if not tensor.inputs:
        return False
    node = tensor.inputs[0]
    if has(node, Trait.NORMALISES_LAST, Trait.EMBEDS):
        return True
    return has(node, Trait.ELEMENTWISE) and normalisation(tensor) is not None
