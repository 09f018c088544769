"""The catalog of layers: every tensor that could be explained, and why it can or cannot be.

It also chooses the defaults: the *reduction layer*, whose scalar score is differentiated, and the
*feature layer*, whose channels make the map. Every choice carries its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from onnxcam.emit import Dim, Tensor, is_float, shape_of
from onnxcam.errors import ModelError, UsageError
from onnxcam.layout import Layout, layouts, spatial_shape
from onnxcam.model import Model
from onnxcam.surgery import Draft, captured, suggestion

ACTIVATIONS = frozenset(
    "Relu Clip LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Mish Gelu Softplus "
    "Softsign Tanh ThresholdedRelu Swish FastGelu QuickGelu BiasGelu QLinearSigmoid "
    "QLinearLeakyRelu FusedConv".split()
)
_MOVES = frozenset(
    "Identity Cast CastLike Reshape Squeeze Unsqueeze Flatten Transpose Dropout QuantizeLinear "
    "DequantizeLinear".split()
)
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
_SHAPES = frozenset({"Shape", "Size"})
_FINAL = {"Softmax": "logits", "LogSoftmax": "logits", "Sigmoid": "logits"}


@dataclass(frozen=True)
class Candidate:
    """A tensor of the catalog.

    Attributes:
        name: Tensor name.
        op: Operator that produces it.
        shape: Its shape, None where the rank is unknown.
        layout: The meaning of its axes, None where it is not known.
        usable: Whether it can be the feature layer.
        reason: Why (not).
        activation: Whether it is an activation function's output.
    """

    name: str
    op: str
    shape: tuple[Dim, ...] | None
    layout: Layout | None
    usable: bool
    reason: str
    activation: bool = False


@dataclass(frozen=True)
class Reduction:
    """The tensor whose entries are the scores.

    Attributes:
        name: Tensor name.
        class_axis: Axis of the classes; the other axes but the batch are summed over.
        classes: How many classes, None where the dimension is not known.
        kind: "logits", "probabilities" or "output".
        output: The graph output that shows it to the user.
        reason: Why this tensor.
        final: "Softmax", "LogSoftmax" or "Sigmoid" when that stands between it and the output.
        positions: Whether there is a score per position (or anchor), which are summed.
    """

    name: str
    class_axis: int
    classes: int | None
    kind: str
    output: str
    reason: str
    final: str | None = None
    positions: bool = False


@dataclass(frozen=True)
class Catalog:
    """What can be explained in a model.

    Attributes:
        candidates: Every float tensor between the input and the score, in graph order.
        feature: The default feature layer; None where there is no usable one.
        feature_reason: Why.
        reduction: The reduction layer.
        input: Name of the input that the maps are laid over.
        input_layout: The meaning of that input's axes, None where the graph doesn't tell.
    """

    candidates: tuple[Candidate, ...]
    feature: Candidate | None
    feature_reason: str
    reduction: Reduction
    input: str
    input_layout: Layout | None

    def find(self, name: str) -> Candidate:
        """Return a usable feature layer by its name.

        Raises:
            UsageError: It is not there, not usable, or not on the path to the score.
        """
        for candidate in self.candidates:
            if candidate.name == name:
                if candidate.usable:
                    return candidate
                raise UsageError(
                    f"{name!r} cannot be the feature layer: {candidate.reason}",
                    "`onnxcam layers MODEL` lists the layers that can",
                )
        usable = [c.name for c in self.candidates if c.usable]
        raise UsageError(
            f"no feature layer {name!r} on the path from {self.input!r} to {self.reduction.name!r}",
            suggestion(name, usable),
        )


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
    reduction = _reduction(graph, draft, reduction_layer)
    score = draft.tensor(reduction.name)
    nodes, source = _path(graph, score, known)
    above = {id(t) for t in _ancestors(score)}
    tensors = {t.name: t for n in nodes for t in n.outputs if id(t) in above and is_float(t)}
    views = _views(score)
    candidates = tuple(_candidate(t, views, known) for t in tensors.values())
    narrow = _bottlenecks(nodes, source)
    feature, reason = _default_feature(candidates, tensors, narrow)
    layout = known.get(id(source))
    return Catalog(candidates, feature, reason, reduction, source.name, layout)


# ---- the score


def _reduction(graph: gs.Graph, draft: Draft, name: str | None) -> Reduction:
    if name is not None:
        tensor = draft.tensor(name)
        output = _shown_by(graph, tensor)
        kind = "probabilities" if _producer(tensor) in _FINAL else "output"
        return _described(tensor, kind, output, "named by the caller", None)
    outputs = [t for t in graph.outputs if is_float(t) and t.inputs]
    if not outputs:
        raise ModelError("the model has no floating point output", "name a --reduction-layer")
    finals = [(t, _final(t)) for t in outputs]
    output, final = next(((t, f) for t, f in finals if f is not None), (outputs[0], None))
    if final is None:
        reason = "the model's output; no Softmax or Sigmoid behind it, so it is taken as logits"
        return _described(_unwrapped(output), "logits", output.name, reason, None)
    axis = int(final.attrs.get("axis", -1)) if final.op != "Sigmoid" else None
    reason = f"the input of the final {final.op} ({final.name or final.outputs[0].name})"
    found = _described(final.inputs[0], _FINAL[final.op], output.name, reason, axis)
    return replace(found, final=str(final.op))


def _final(tensor: Tensor) -> gs.Node | None:
    """Return the final Softmax or Sigmoid behind an output, looking through moves."""
    while tensor.inputs:
        node = tensor.inputs[0]
        if node.op in _FINAL:
            return node
        if node.op not in _MOVES:
            return None
        tensor = node.inputs[0]
    return None


def _unwrapped(tensor: Tensor) -> Tensor:
    """Return the float tensor itself: an output that is only a cast of the score still is it."""
    return tensor


def _described(tensor: Tensor, kind: str, output: str, reason: str, axis: int | None) -> Reduction:
    shape = shape_of(tensor)
    if shape is None:
        raise ModelError(
            f"the rank of the score {tensor.name!r} is unknown", "name another --reduction-layer"
        )
    rank = len(shape)
    if axis is None:
        axis = _class_axis(shape)
    size = shape[axis] if rank else 1
    return Reduction(
        tensor.name,
        axis % rank if rank else 0,
        size if isinstance(size, int) else None,
        kind,
        output,
        reason,
        positions=any(d != 1 for i, d in enumerate(shape) if i not in (0, axis % max(rank, 1))),
    )


def _class_axis(shape: Sequence[Dim]) -> int:
    """The only axis behind the batch that is not 1, else axis 1 (or 0 for a vector)."""
    wide = [i for i, d in enumerate(shape) if i > 0 and d != 1]
    if len(wide) == 1:
        return wide[0]
    return min(1, max(len(shape) - 1, 0))


def _shown_by(graph: gs.Graph, tensor: Tensor) -> str:
    """Return the output that depends on a tensor and shows it."""
    for output in graph.outputs:
        if output is tensor or any(t is tensor for t in _ancestors(output)):
            return str(output.name)
    raise UsageError(
        f"no output of the model depends on {tensor.name!r}", "name a tensor on the way to one"
    )


# ---- the path


def _ancestors(tensor: Tensor) -> Iterator[Tensor]:
    seen: set[int] = set()
    stack = [tensor]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        for node in current.inputs:
            stack.extend(t for t in node.inputs if t.name)
            for value in node.attrs.values():
                if isinstance(value, gs.Graph):
                    stack.extend(t for t in captured(value) if t.name)


def _path(graph: gs.Graph, score: Tensor, known: dict[int, Layout]) -> tuple[list[gs.Node], Tensor]:
    """Return the nodes between the main input and the score in graph order, and that input."""
    above = {id(t) for t in _ancestors(score)}
    inputs = [t for t in graph.inputs if id(t) in above and is_float(t)]
    if not inputs:
        inputs = [t for t in graph.inputs if id(t) in above]
    if not inputs:
        raise ModelError(f"{score.name!r} depends on no input", "name another --reduction-layer")
    source = next((t for t in inputs if len(shape_of(t) or ()) > 2 and id(t) in known), inputs[0])
    below = {id(source)}
    nodes = []
    for node in graph.nodes:
        fed = [*node.inputs, *_captured_by(node)]
        if node.op not in _SHAPES and any(id(t) in below for t in fed):
            below.update(id(t) for t in node.outputs)
            if any(id(t) in above for t in node.outputs):
                nodes.append(node)
    return nodes, source


def _bottlenecks(nodes: Sequence[gs.Node], source: Tensor) -> set[int]:
    """Return the ids of the tensors that everything on the path passes through.

    A tensor is one when nothing that was made before it is used after it.
    """
    last_use: dict[int, int] = {}
    for index, node in enumerate(nodes):
        for tensor in (*node.inputs, *_captured_by(node)):
            last_use[id(tensor)] = index
    reach, found = last_use.get(id(source), 0), set()
    for index, node in enumerate(nodes):
        made = [t for t in node.outputs if id(t) in last_use or index == len(nodes) - 1]
        if len(made) == 1 and reach <= index:
            found.add(id(made[0]))
        reach = max([reach, *(last_use.get(id(t), index) for t in made)])
    return found


def _captured_by(node: gs.Node) -> Iterator[Tensor]:
    for value in node.attrs.values():
        if isinstance(value, gs.Graph):
            yield from captured(value)


# ---- candidates


def _views(score: Tensor) -> set[int]:
    """Return the ids of the score and of the tensors that it is only a reshape of."""
    found = {id(score)}
    while score.inputs and score.inputs[0].op in _MOVES:
        score = score.inputs[0].inputs[0]
        found.add(id(score))
    return found


def _candidate(tensor: Tensor, score: set[int], known: dict[int, Layout]) -> Candidate:
    layout = known.get(id(tensor))
    shape = shape_of(tensor)
    usable, reason = _judge(tensor, score, layout, shape)
    return Candidate(
        tensor.name, _producer(tensor), shape, layout, usable, reason, _is_activation(tensor)
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
        through = node.op in _MOVES - {"DequantizeLinear"} or node.op in _POOLS
        if not through or node.inputs[0].name not in usable:
            return last, where
        tensor, passed = node.inputs[0], f", before its {node.op}"
    return usable[tensor.name], f"{where}{passed}; an activation ({_producer(tensor)})"


def _producer(tensor: Tensor) -> str:
    return str(tensor.inputs[0].op) if tensor.inputs else "input"


def _space_word(layout: Layout) -> str:
    if layout.grid:
        return "token"
    return {1: "time", 2: "spatial", 3: "volume"}.get(len(layout.space), "spatial")


def _times(extent: Sequence[Dim]) -> str:
    return " x ".join("?" if d is None else str(d) for d in extent)
