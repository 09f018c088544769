"""What onnxruntime-training cannot take as it is: other words for it, or a refusal.

A rewrite packs a node differently (``parcel.add`` with other inputs), or emits standard nodes
that compute the same (``parcel.replace``). The reasons are in docs/ort-training.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from onnxcam.autodiff.ort_training.parcel import Parcel, Rewrite, refused
from onnxcam.autodiff.registry import NodeView
from onnxcam.graph.emit import Emitter, Tensor, np_dtype, shape_of

REWRITES: dict[str, Rewrite] = {}


def _rewrite(*names: str) -> Callable[[Rewrite], Rewrite]:
    def enter(rewrite: Rewrite) -> Rewrite:
        REWRITES.update(dict.fromkeys(names, rewrite))
        return rewrite

    return enter


def _expansion(name: str) -> Callable[[Callable[[Emitter, NodeView], Tensor]], None]:
    """Enter what an operator with one output is replaced by."""

    def enter(expand: Callable[[Emitter, NodeView], Tensor]) -> None:
        REWRITES[name] = lambda parcel, node: parcel.replace(node, expand(parcel.op, node))

    return enter


# ---- operators without a gradient there, in terms of others


@_expansion("Elu")
def _elu(op: Emitter, node: NodeView) -> Tensor:
    """Return x where x > 0, else alpha (e^x - 1)."""
    x = node.inputs[0]
    below = op.Sub(op.Exp(op.Clip(x, max=0)), 1)  # e^x may not overflow where it is not used
    return op.Where(op.Greater(x, 0), x, op.Mul(below, node.attr("alpha")))


@_expansion("HardSigmoid")
def _hard_sigmoid(op: Emitter, node: NodeView) -> Tensor:
    """Return clip(alpha x + beta, 0, 1)."""
    x, alpha, beta = node.inputs[0], node.attr("alpha"), node.attr("beta")
    return op.Clip(op.Add(op.Mul(x, alpha), beta), min=0, max=1)


@_expansion("HardSwish")
def _hard_swish(op: Emitter, node: NodeView) -> Tensor:
    """Return x clip(x / 6 + 1 / 2, 0, 1)."""
    x = node.inputs[0]
    return op.Mul(x, op.Clip(op.Add(op.Mul(x, 1 / 6), 0.5), min=0, max=1))


@_expansion("PRelu")
def _prelu(op: Emitter, node: NodeView) -> Tensor:
    """Return x where x >= 0, else slope x."""
    x, slope = node.inputs
    return op.Where(op.Less(x, 0), op.Mul(x, slope), x)


@_expansion("Sum")
def _sum(op: Emitter, node: NodeView) -> Tensor:
    """Return x_1 + x_2 + ..."""
    return _total(op, node.inputs)


@_expansion("Mean")
def _mean(op: Emitter, node: NodeView) -> Tensor:
    """Return (x_1 + x_2 + ...) / n."""
    return op.Mul(_total(op, node.inputs), 1 / len(node.inputs))


def _total(op: Emitter, xs: list[Tensor]) -> Tensor:
    return reduce(op.Add, xs) if len(xs) > 1 else op.Identity(xs[0])


@_rewrite("BatchNormalization")
def _batch_normalization(parcel: Parcel, node: NodeView) -> None:
    """Return s x + (bias - s mean), s = scale / sqrt(var + epsilon); inference only."""
    if node.attr("training_mode", 0) or any(t is not None for t in node.outputs[1:]):
        raise refused(f"BatchNormalization node {node.name!r} is in training mode")
    op, (x, scale, bias, mean, var) = parcel.op, node.inputs
    column = [-1] + [1] * (_rank(node) - 2)
    s = op.Div(scale, op.cast(op.Sqrt(op.Add(var, node.attr("epsilon"))), scale))
    shift = op.Sub(bias, op.Mul(op.cast(mean, scale), s))
    s, shift = (op.cast(op.Reshape(t, column), x) for t in (s, shift))
    parcel.replace(node, op.Add(op.Mul(x, s), shift))


@_rewrite("Dropout")
def _dropout(parcel: Parcel, node: NodeView) -> None:
    """Return x; inference only."""
    training = node.input(2)
    if training is not None and (node.const(2) is None or bool(node.const(2))):
        raise refused(f"Dropout node {node.name!r} may be in training mode")
    parcel.replace(node, parcel.op.Identity(node.inputs[0]))


# ---- operators whose gradient there is wrong in some form


@_rewrite("LayerNormalization")
def _layer_normalization(parcel: Parcel, node: NodeView) -> None:
    """The builder reads the bias, and Mean and InvStdDev, whether they are there or not."""
    if any(t is not None and id(t) in parcel.carrying for t in node.outputs[1:]):
        raise refused(f"the Mean or InvStdDev of LayerNormalization node {node.name!r} is used")
    x, scale, bias = node.inputs[0], node.inputs[1], node.input(2)
    kind = np_dtype(node.attr("stash_type"))
    whole = [*node.outputs, None, None][:3]
    node.outputs = [parcel.op.variable("statistics", kind, None) if t is None else t for t in whole]
    parcel.add(node, [x, scale, parcel.op.zeros_like(scale) if bias is None else bias])


@_rewrite("Split")
def _split(parcel: Parcel, node: NodeView) -> None:
    """The gradient of an output that leads nowhere is left out there: it gets a zero here."""
    if any(y is None for y in node.outputs):
        raise refused(f"Split node {node.name!r} leaves out an output")
    dead = [y for y in node.outputs if id(y) not in parcel.carrying]
    parcel.carrying |= {id(y) for y in dead}
    parcel.add(node, node.inputs)
    for y in dead:
        parcel.leaf(y, parcel.op.zeros_like(y))


@_rewrite("MatMul")
def _matmul(parcel: Parcel, node: NodeView) -> None:
    """Vectors become matrices: their gradient is wrong there."""
    op, (a, b) = parcel.op, node.inputs
    ranks = [_rank(node, i) for i in (0, 1)]
    if min(ranks) > 1:
        parcel.add(node, node.inputs)
        return
    left = op.Unsqueeze(a, axes=[0]) if ranks[0] == 1 else a
    right = op.Unsqueeze(b, axes=[1]) if ranks[1] == 1 else b
    added = [axis for axis, rank in zip((-2, -1), ranks, strict=True) if rank == 1]
    parcel.replace(node, op.Squeeze(op.MatMul(left, right), axes=added))


@_rewrite("Pow")
def _pow(parcel: Parcel, node: NodeView) -> None:
    """The base's gradient is not summed over a broadcast, and the exponent's dtype not cast."""
    x, exponent = node.inputs
    parcel.add(node, [_expanded(parcel, x, node), parcel.op.cast(exponent, x)])


@_rewrite("Where")
def _where(parcel: Parcel, node: NodeView) -> None:
    """The gradients are not summed over a broadcast."""
    condition, x, y = node.inputs
    parcel.add(node, [condition, _expanded(parcel, x, node), _expanded(parcel, y, node)])


@_rewrite("ScatterND", "ScatterElements")
def _scatter(parcel: Parcel, node: NodeView) -> None:
    """A reduction is ignored."""
    if node.attr("reduction", "none") != "none":
        raise refused(f"it takes {node.op_type} node {node.name!r} for one without a reduction")
    parcel.add(node, node.inputs)


def _expanded(parcel: Parcel, x: Tensor, node: NodeView) -> Tensor:
    """Return ``x`` in the shape of the node's output, for the gradient to be summed back."""
    shape, y = shape_of(x), node.outputs[0]
    same = shape is not None and None not in shape and shape == shape_of(y)
    if same or id(x) not in parcel.carrying:
        return x
    big = parcel.op.typed(parcel.op.Expand(x, parcel.op.shape(y)), y)
    parcel.carrying.add(id(big))
    if not parcel.has(big.inputs[0]):
        parcel.send(big.inputs[0])
    return big


def _rank(node: NodeView, index: int = 0) -> int:
    shape = shape_of(node.inputs[index])
    if shape is None:
        raise refused(f"the rank of an input of {node.op_type} node {node.name!r} is not known")
    return len(shape)
