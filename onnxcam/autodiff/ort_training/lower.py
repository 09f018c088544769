"""From the graph that onnxruntime-training built back to ordinary ONNX nodes.

Its training-only nodes (``ConvGrad``, ``SoftmaxGrad_13``, ...) are written by this package's own
rules: ConvGrad *is* Conv's rule with its first input as the cotangent. What it writes in standard
operators is taken over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.cotangents import repeated, scaled
from onnxcam.autodiff.engine import unsupported
from onnxcam.autodiff.ort_training.parcel import refused
from onnxcam.autodiff.ort_training.prepare import Prepared
from onnxcam.autodiff.registry import NodeView, lookup
from onnxcam.autodiff.route import topological
from onnxcam.graph.emit import Emitter, Tensor, shape_of, static_shape

Attributes = Mapping[str, Any]
Lowering = Callable[[Emitter, Sequence[Any], Attributes], tuple[Tensor, ...]]

_SUFFIX = "_grad"
_GRADIENT = re.compile(r"(t\d+)_grad(_\d+)?")
# Pad's gradient is a Pad with negative pads, and without the axes.
_BY_RULE = re.compile(r"\w+Grad(_13|_dX)?|Pad")


def lower(op: Emitter, built: gs.Graph, prepared: Prepared) -> list[Tensor | None]:
    """Write the gradient nodes of a built graph and return the gradients.

    Args:
        op: Emitter of the whole graph.
        built: What onnxruntime-training made of ``prepared.proto``.
        prepared: The part that it was given.

    Returns:
        One gradient per ``wrt`` tensor with its shape and dtype; None where it does not flow.

    Raises:
        UnsupportedOp: A gradient is missing in the graph, or a node has no lowering.
    """
    _check_complete(built, prepared)
    return _Lowering(op, built, prepared).run()


class _Lowering:
    def __init__(self, op: Emitter, built: gs.Graph, prepared: Prepared) -> None:
        self.op, self.prepared = op, prepared
        self.built, self.built_nodes = built.tensors(), built.nodes
        self.values = dict(prepared.tensors)
        self.values |= {name + _SUFFIX: seed for name, seed in prepared.seeds.items()}
        self.wanted = {id(prepared.tensors[name]) for name in prepared.uses}

    def run(self) -> list[Tensor | None]:
        names = [None if w is None else w + _SUFFIX for w in self.prepared.wrt]
        known = {id(t) for name, t in self.built.items() if name in self.values}
        for node in self.built_nodes:  # what was added to a forward node, as MaxPool's indices
            if any(id(t) in known for t in node.outputs):
                known |= {id(t) for t in node.outputs}
        with self.op.scope("ort-training"):
            for node in topological([self.built[n] for n in names if n], known):
                for tensor, value in zip(node.outputs, self._outputs(node), strict=False):
                    if tensor.name and value is not None:
                        self.values[tensor.name] = self._stamped(tensor.name, value)
        return [None if n is None else self.values[n] for n in names]

    def _outputs(self, node: gs.Node) -> Sequence[Tensor | None]:
        if _BY_RULE.fullmatch(node.op):
            return self._by_rule(node)
        inputs = [self._value(t) for t in node.inputs]
        if node.op in _LOWERINGS:
            return _LOWERINGS[node.op](self.op, inputs, node.attrs)
        if node.domain not in (None, "", "ai.onnx"):
            raise refused(f"{node.domain}::{node.op} in its gradient cannot be lowered")
        count = len(node.outputs)
        made = self.op.call(node.op, inputs, node.attrs, outputs=count)
        return made if count > 1 else (made,)

    def _value(self, tensor: Tensor) -> Tensor | None:
        if not tensor.name:
            return None
        if tensor.name not in self.values:
            assert isinstance(tensor, gs.Constant), f"{tensor.name} is used before it is made"
            self.values[tensor.name] = self.op.const(tensor.values)
        return self.values[tensor.name]

    def _by_rule(self, node: gs.Node) -> Sequence[Tensor | None]:
        """Return the gradients that a node's forward operator has by our own rule."""
        name = next(m[1] for t in node.inputs if (m := _GRADIENT.fullmatch(t.name)))
        y, dy = self.values[name], self.values[name + _SUFFIX]
        domain = y.inputs[0].domain or ""
        view = NodeView(y.inputs[0], self.op.opsets.get("" if domain == "ai.onnx" else domain, 1))
        view._wanted = {i for i, x in enumerate(view.inputs) if id(x) in self.wanted}
        entry = lookup(view.domain, view.op_type, view.opset)
        if entry is None:
            raise unsupported(view)
        with self.op.scope(view.name):
            grads = entry.rule(self.op, view, *(dy if t is y else None for t in view.outputs))
            grads = list(grads) if isinstance(grads, tuple | list) else [grads]
            for i in view._wanted if entry.broadcasts else ():
                grads[i] = unbroadcast(self.op, grads[i], view.inputs[i])
        return grads

    def _stamped(self, name: str, value: Tensor) -> Tensor:
        """Return a gradient with the dtype and shape of its tensor, after a check."""
        match = _GRADIENT.fullmatch(name)
        if match is None:
            return value
        tensor = self.values[match[1]]
        got, want = shape_of(value), shape_of(tensor)
        if got is not None and want is not None:
            pairs = zip(got, want, strict=False)
            clash = any(isinstance(g, int) and isinstance(w, int) and g != w for g, w in pairs)
            if clash or len(got) != len(want):
                raise refused(
                    f"its gradient of {tensor.name!r} has the shape {got} in place of {want}"
                )
        return self.op.typed(self.op.cast(value, tensor), tensor)


def _check_complete(built: gs.Graph, prepared: Prepared) -> None:
    """Raise where a gradient that should flow to a tensor was silently left out."""
    found = dict.fromkeys(prepared.uses, 0)
    for node in built.nodes:
        for tensor in node.outputs if node.op != "Sum" else ():
            match = _GRADIENT.fullmatch(tensor.name)
            if match and match[1] in found:
                found[match[1]] += 1
    for name, count in prepared.uses.items():
        if found[name] != count:
            tensor = prepared.tensors[name]
            users = ", ".join(sorted({f"{n.op} {n.name!r}" for n in tensor.outputs}))
            raise refused(
                f"of {count} gradients that flow to {tensor.name!r} (used by {users}) it gives "
                f"{found[name]}"
            )


# ---- its own operators that are no operator's gradient


def _scale(op: Emitter, inputs: Sequence[Tensor], attrs: Attributes) -> tuple[Tensor, ...]:
    """Return x s, or x / s."""
    x, s = inputs
    s = op.cast(s, x)
    return (op.Div(x, s) if attrs.get("scale_down") else op.Mul(x, s),)


def _fused_matmul(op: Emitter, inputs: Sequence[Tensor], attrs: Attributes) -> tuple[Tensor, ...]:
    """Return alpha A' B', with the last two dimensions transposed where it says so."""
    a, b = inputs
    a = _transposed(op, a) if attrs.get("transA") else a
    b = _transposed(op, b) if attrs.get("transB") else b
    product, alpha = op.MatMul(a, b), attrs.get("alpha", 1.0)
    return (product if alpha == 1 else op.Mul(product, alpha),)


def _transposed(op: Emitter, x: Tensor) -> Tensor:
    rank = len(shape_of(x) or ())
    return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])


def _broadcast_axes(op: Emitter, inputs: Sequence[Tensor], attrs: Attributes) -> tuple[Tensor, ...]:
    """The axes of the broadcast shape along which each of two shapes is 1 (or is not there).

    Where both are 1 an axis is among them too: a sum along it changes nothing.
    """
    ranks = [op.dim(shape, 0) for shape in inputs]
    longest = op.ReduceMax(op.dims(*ranks), axes=[0], keepdims=1)
    axes = []
    for shape, rank in zip(inputs, ranks, strict=True):
        missing = op.Sub(longest, op.dims(rank))
        ones = op.ConstantOfShape(missing, value=gs.Constant("", np.ones(1, np.int64)))
        padded = op.Concat(ones, shape, axis=0)
        axes.append(op.Squeeze(op.NonZero(op.Equal(padded, 1)), axes=[0]))
    return tuple(axes)


def _sum(op: Emitter, inputs: Sequence[Tensor], attrs: Attributes) -> tuple[Tensor, ...]:
    """Return x_1 + x_2 + ..."""
    total = inputs[0]
    for x in inputs[1:]:
        total = op.typed(op.Add(total, x), x)
    return (total,)


def _shape(op: Emitter, inputs: Sequence[Tensor], attrs: Attributes) -> tuple[Tensor, ...]:
    """The shape: a constant where it is known."""
    known = static_shape(inputs[0]) is not None
    return (op.shape(inputs[0]) if known else op.Shape(inputs[0]),)


_LOWERINGS: dict[str, Lowering] = {
    "BroadcastGradientArgs": _broadcast_axes,
    "Constant": lambda op, inputs, attrs: (op.const(attrs["value"].values),),
    "Expand": lambda op, inputs, attrs: (repeated(op, *inputs),),
    "FusedMatMul": _fused_matmul,
    "Identity": lambda op, inputs, attrs: (inputs[0],),
    "Mul": lambda op, inputs, attrs: (scaled(op, *inputs),),
    "ReduceSumTraining": lambda op, inputs, attrs: (op.call("ReduceSum", inputs, attrs),),
    "Scale": _scale,
    "Shape": _shape,
    "Sum": _sum,
    "Trilu": lambda op, inputs, attrs: (op.call("Trilu", inputs, attrs),),
}
