"""Every candidate feature layer, why it can be used or not, and the default."""

from __future__ import annotations

from collections.abc import Sequence

from onnxcam.emit import Dim, Tensor, is_float, shape_of
from onnxcam.layers.path import MOVES, ancestors, bottlenecks, path, producer
from onnxcam.layers.records import Candidate, Catalog
from onnxcam.layers.score import reduction
from onnxcam.layout import Layout, layouts, spatial_shape
from onnxcam.model import Model
from onnxcam.surgery import Draft

ACTIVATIONS = frozenset(
    "Relu Clip LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Mish Gelu Softplus "
    "Softsign Tanh ThresholdedRelu Swish FastGelu QuickGelu BiasGelu QLinearSigmoid "
    "QLinearLeakyRelu FusedConv".split()
)
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})


def catalog(model: Model, *, reduction_layer: str | None = None) -> Catalog:
    """List the layers of a model and choose the defaults.

    Args:
        model: The model.
        reduction_layer: Name of the tensor to take the score from; None chooses it.

    Raises:
        ModelError: The model has no float output, or no input to explain.
        UsageError: There is no tensor of the name given.
    """
    draft = Draft(model)
    graph = draft.graph
    known = layouts(graph)
    scores = reduction(graph, draft, reduction_layer)
    score = draft.tensor(scores.name)
    nodes, source = path(graph, score, known)
    above = {id(t) for t in ancestors(score)}
    tensors = {t.name: t for n in nodes for t in n.outputs if id(t) in above and is_float(t)}
    views = _views(score)
    candidates = tuple(_candidate(t, views, known) for t in tensors.values())
    narrow = bottlenecks(nodes, source)
    feature, reason = _default_feature(candidates, tensors, narrow)
    layout = known.get(id(source))
    return Catalog(candidates, feature, reason, scores, source.name, layout)


def _views(score: Tensor) -> set[int]:
    """Return the ids of the score and of the tensors that it is only a reshape of."""
    found = {id(score)}
    while score.inputs and score.inputs[0].op in MOVES:
        score = score.inputs[0].inputs[0]
        found.add(id(score))
    return found


def _candidate(tensor: Tensor, score: set[int], known: dict[int, Layout]) -> Candidate:
    layout = known.get(id(tensor))
    shape = shape_of(tensor)
    usable, reason = _judge(tensor, score, layout, shape)
    return Candidate(
        tensor.name, producer(tensor), shape, layout, usable, reason, _is_activation(tensor)
    )


def _judge(
    tensor: Tensor, score: set[int], layout: Layout | None, shape: tuple[Dim, ...] | None
) -> tuple[bool, str]:
    if id(tensor) in score:
        return False, "it is the score itself"
    if shape is None:
        return False, "its rank is unknown"
    if layout is None:
        return False, "the meaning of its axes is unknown"
    if not layout.known:
        return False, "it has no spatial, time or token axis"
    extent = spatial_shape(tensor, layout)
    if all(d == 1 for d in extent):
        return False, f"its {_space_word(layout)} extent is {_times(extent)}"
    if layout.space and layout.axes[layout.space[0]] == "T" and not layout.grid:
        return False, "its tokens have no known grid"
    return True, f"{_space_word(layout)} map of {_times(extent)}"


def _is_activation(tensor: Tensor) -> bool:
    if not tensor.inputs:
        return False
    node = tensor.inputs[0]
    if node.op in ACTIVATIONS:
        return True
    # x * sigmoid(x) and x * hardsigmoid(x), as exporters write SiLU and HardSwish
    gates = [t.inputs[0] for t in node.inputs if t.inputs] if node.op == "Mul" else []
    return any(
        g.op in ("Sigmoid", "HardSigmoid") and any(t is g.inputs[0] for t in node.inputs)
        for g in gates
    )


def _default_feature(
    candidates: Sequence[Candidate], tensors: dict[str, Tensor], narrow: set[int]
) -> tuple[Candidate | None, str]:
    usable = {c.name: c for c in candidates if c.usable}
    if not usable:
        return None, "no tensor on the path to the score has a spatial, time or token extent"
    whole = [c for c in usable.values() if id(tensors[c.name]) in narrow]
    last = (whole or list(usable.values()))[-1]
    where = f"the last layer before the score that still is a {last.reason}"
    if whole and last is not list(usable.values())[-1]:
        where = f"the last layer that all of the score passes through and that is a {last.reason}"
    tensor, passed = tensors[last.name], ""
    while not _is_activation(tensor):
        node = tensor.inputs[0]
        through = node.op in MOVES - {"DequantizeLinear"} or node.op in _POOLS
        if not through or node.inputs[0].name not in usable:
            return last, where
        tensor, passed = node.inputs[0], f", before its {node.op}"
    return usable[tensor.name], f"{where}{passed}; an activation ({producer(tensor)})"


def _space_word(layout: Layout) -> str:
    if layout.grid:
        return "token"
    return {1: "time", 2: "spatial", 3: "volume"}.get(len(layout.space), "spatial")


def _times(extent: Sequence[Dim]) -> str:
    return " x ".join("?" if d is None else str(d) for d in extent)
