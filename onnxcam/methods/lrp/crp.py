"""Concept relevance propagation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxcam.autodiff.cotangents import one_hot
from onnxcam.autodiff.overrides import own_rule
from onnxcam.autodiff.view import NodeView, Override, Overrides
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.methods.lrp import composites, lrp_epsilon_plus_flat
from onnxcam.methods.lrp.lrp_epsilon import EPSILON
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes

CHANNEL = Parameter(
    "channel", int, -1, -1, 1_000_000,
    "channel of the feature layer whose relevance is followed, from 0; -1 for the one with most",
)  # fmt: skip


def composite(
    channel: int = -1, epsilon: float = 1e-6, layer: str = "", axes: Sequence[int] = (0, 1)
) -> Overrides:
    """Return which node hands its relevance on by which rule.

    Args:
        channel: Number of the channel that keeps its relevance; -1 for the one with most.
        epsilon: As in lrp-epsilon-plus-flat.
        layer: Name of the tensor whose channels these are.
        axes: Its axes of the batch and the channels.
    """
    plain = lrp_epsilon_plus_flat.composite(epsilon)

    def makes(node: NodeView) -> bool:
        return any(t is not None and t.name == layer for t in node.outputs)

    def conditioned(op: Emitter, node: NodeView, *dys: Tensor | None) -> Any:
        """R of the other channels is 0 from here on; the rest by the rule of the node."""
        kept = [
            _kept(op, y, dy, channel, *axes) if y is not None and y.name == layer and dy else dy
            for y, dy in zip(node.outputs, dys, strict=True)
        ]
        rule = plain.first(node)
        if rule is None:
            return own_rule(op, node, *kept)
        return rule.rule(op, node, *kept, **rule.parameters)

    return Overrides((Override(makes, conditioned, what="a layer"), *plain.items))


def _kept(op: Emitter, y: Tensor, dy: Tensor, channel: int, batch: int, axis: int) -> Tensor:
    """Return a gradient with one channel of each input left, the others 0."""
    shape = shape_of(y) or ()
    count, kind = op.dim(y, axis), dtype_of(dy) or np.dtype(np.float32)
    if isinstance(count, int) and channel >= count:
        raise UsageError(
            f"{y.name!r} has {count} channels, and channel {channel} is asked for",
            f"choose one from 0 to {count - 1}, or -1 for the one with the most relevance",
        )
    rest = [i for i in range(len(shape)) if i not in (batch, axis)]
    if channel >= 0:
        index = op.const(np.array([channel]))
    else:
        total = op.ReduceSum(op.Mul(y, dy), axes=rest, keepdims=0)
        index = op.ArgMax(total, axis=1 if batch < axis else 0, keepdims=0)
    rows = one_hot(op, index, count, kind)  # [N, C]
    rows = rows if batch < axis else op.Transpose(rows, perm=[1, 0])
    return op.Mul(dy, op.Unsqueeze(rows, axes=rest) if rest else rows)


@relevance_method(
    "crp",
    handed="relevance",
    cite="Achtibat et al., From Attribution Maps to Human-Understandable Explanations through "
    "Concept Relevance Propagation, Nature Machine Intelligence 2023, equation 4",
    overrides=composite,
    at_layer=True,
    parameters=(CHANNEL, EPSILON),
    claim="Which pixels make the share that one channel of a layer has in the score.",
    limits=(
        "One channel is a part of the score; what it stands for its pictures must tell. The rest "
        "as lrp-epsilon-plus-flat."
    ),
)
def crp(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c R_c by lrp-epsilon-plus-flat, R = 0 in all channels of the layer but one.

    The layer is the feature layer, and the channel the one with the largest relevance over all
    positions unless it is said. Over all channels the maps sum up to that of
    lrp-epsilon-plus-flat, where all relevance passes the layer. Positive biases keep their share
    at every layer: of a deep network with many (MobileNetV2) thousandths of the score are left.
    """
    return composites.as_map(op, x, r, axes, "flat")
