"""The biases that a score is made of, layer by layer, for methods that share it out among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from onnxcam.autodiff.engine import path
from onnxcam.compose.resample import resampled
from onnxcam.errors import UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of
from onnxcam.graph.ops import Trait, has
from onnxcam.methods.cam.sums import channel_sum, stretched
from onnxcam.methods.registry import Axes

_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class Biased:
    """A layer that adds a bias to each channel.

    Attributes:
        node: A convolution, a BatchNormalization, or the Add of a constant.
    """

    node: ir.Node

    @property
    def output(self) -> Tensor:
        """What the bias is part of: [N, C, *space]."""
        return self.node.outputs[0]

    def bias(self, op: Emitter) -> Tensor:
        """Return the bias [C, 1, ...]; of a BatchNormalization beta - mean gamma / deviation."""
        space = list(range(1, len(shape_of(self.output) or ()) - 1))
        if self.node.op == "Add":
            return self.node.inputs[_constant(self.node)]
        if self.node.op != "BatchNormalization":
            return op.Unsqueeze(self.node.inputs[2], axes=space)
        gain, beta, mean, variance = self.node.inputs[1:5]
        epsilon = float(self.node.attrs.get("epsilon", 1e-5))
        scale = op.Div(gain, op.Sqrt(op.Add(variance, epsilon)))
        return op.Unsqueeze(op.Sub(beta, op.Mul(mean, scale)), axes=space)


def biased_layers(op: Emitter, score: Tensor, x: Tensor) -> list[Biased]:
    """Return the layers with a bias in each channel between an input and the scores.

    Args:
        op: Emitter.
        score: The scores.
        x: The input, with space.

    Raises:
        UsageError: There is none, or a convolution has its activation inside, or other space.
    """
    nodes, _ = path(op, [score], [x])
    found = []
    for node in nodes:
        if has(node, Trait.CONVOLUTION) and node.op not in _CONVOLUTIONS:
            raise UsageError(
                f"the bias of a {node.op}, node {node.name!r}, lies before what is fused with it",
                "explain the model as it was before ONNX Runtime fused it",
            )
        if _adds(node):
            found.append(Biased(node))
    rank = len(shape_of(x) or ())
    strange = [f.node for f in found if len(shape_of(f.output) or ()) != rank]
    if strange or not found:
        reason = "there is none" if not found else f"{strange[0].outputs[0].name!r} has other axes"
        raise UsageError(
            f"the score is shared out among the biases of layers with the space of {x.name!r}, "
            f"and {reason}",
            "use `method='input-x-gradient'`",
        )
    return found


def bias_shares(
    op: Emitter,
    layers: Sequence[Biased],
    slopes: Sequence[Tensor],
    size: Sequence[int | Tensor],
    spans: Sequence[Any],
) -> Tensor:
    """Return the sum over layers and channels of |b dy/dz| from 0 to 1, [N, *space].

    Args:
        op: Emitter.
        layers: The layers.
        slopes: The gradient of the score at the output of each.
        size: Extents of the input's space, to which the maps are enlarged linearly.
        spans: Where each layer lies in the input, as :func:`onnxcam.compose.laid.laid` says it.
    """
    maps = []
    for layer, slope, laid in zip(layers, slopes, spans, strict=True):
        axes = Axes(1, tuple(range(2, len(shape_of(layer.output) or ()))))
        each = stretched(op, op.Mul(slope, op.cast(layer.bias(op), slope)), axes)
        together = op.cast(channel_sum(op, each, axes), np.float32)
        maps.append(resampled(op, together, size, "linear", laid))
    return op.Squeeze(reduce(op.Add, maps), axes=[1])


def _adds(node: ir.Node) -> bool:
    """Tell whether a node adds a bias to each channel of [N, C, *space]."""
    if node.domain not in (None, "", "ai.onnx"):
        return False
    if node.op in _CONVOLUTIONS:
        return len(node.inputs) > 2 and bool(node.inputs[2].name)
    if node.op == "BatchNormalization":
        return not node.attrs.get("training_mode")
    rank = len(shape_of(node.outputs[0]) or ()) if node.outputs else 0
    if node.op == "Add" and rank > 2 and any(const_value(t) is not None for t in node.inputs):
        shape = shape_of(node.inputs[_constant(node)]) or ()
        full = (1,) * (rank - len(shape)) + tuple(shape)
        return full[1] != 1 and all(d == 1 for i, d in enumerate(full) if i != 1)
    return False


def _constant(node: ir.Node) -> int:
    return next(i for i, t in enumerate(node.inputs) if const_value(t) is not None)
