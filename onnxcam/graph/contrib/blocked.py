"""Convolutions and pools on images in blocks of channels, as ONNX Runtime lays them out for a CPU.

Such an image [N, C, H, W] lies in memory as [N, C / block, H, W, block], with channels of zeros up
to a full block, though its shape does not say so. Here it is what its shape says, channels of zeros
and all; only the weights, which lie in blocks too, have to be put back. See ONNX Runtime's
``core/optimizer/nchwc_transformer.cc`` and ``core/mlas/lib/reorder.cpp``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib.conv import fused_conv, to_channels_first, to_channels_last
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor, const_value

BLOCKED = "com.microsoft.nchwc"
BLOCK, CHANNELS = "block", "channels"  # attributes that the pass adds: what the node does not say


def unblocked(weight: np.ndarray[Any, Any], block: int, group: int) -> np.ndarray[Any, Any]:
    """Return the weight of a convolution [O, I, *kernel] as ONNX lays it out.

    Args:
        weight: As the file holds it: outputs, and inputs where they come in blocks too, are
            innermost.
        block: Channels of a block.
        group: Groups of the convolution.
    """
    outputs, inputs, *kernel = weight.shape
    space = list(range(2, 2 + len(kernel)))
    if inputs % block or (group > 1 and inputs == 1):  # the image is no block, or has no depth
        parts = weight.reshape(outputs // block, inputs, *kernel, block)
        return parts.transpose(0, parts.ndim - 1, 1, *space).reshape(weight.shape)
    parts = weight.reshape(outputs // block, inputs // block, *kernel, block, block)
    order = [0, parts.ndim - 1, 1, parts.ndim - 2, *space]
    return parts.transpose(order).reshape(weight.shape)


@define("Conv", domain=BLOCKED)
def blocked_conv(
    op: Emitter, x: Tensor, w: Tensor, b: Tensor | None = None, z: Tensor | None = None, *,
    block: int = 0, channels: int = 0, group: int = 1, **conv: Any,
) -> Tensor:  # fmt: skip
    """y = activation(conv(x, w) + b + z), of the first channels where their number is said."""
    weight, bias = const_value(w), const_value(b)
    if not block or weight is None or (b is not None and bias is None):
        raise UnsupportedOp("a convolution in blocks of channels whose weights are computed")
    weight = unblocked(weight, block, group)
    if group == 1 and 0 < channels < len(weight):
        weight, bias = weight[:channels], None if bias is None else bias[:channels]
    row = None if bias is None else op.const(bias)
    return fused_conv(op, x, op.const(weight), row, z, group=group, **conv)


def _define_pool(name: str) -> None:
    @define(name, domain=BLOCKED)
    def pool(op: Emitter, x: Tensor, *, block: int = 0, **attributes: Any) -> Tensor:
        y: Tensor = getattr(op, name)(x, **attributes)
        return y


for _name in ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"):
    _define_pool(_name)


@define("ReorderInput", domain=BLOCKED)
def reorder_input(op: Emitter, x: Tensor, *, block: int = 0, channels_last: int = 0) -> Tensor:
    """X with channels of zeros up to a full block."""
    y = to_channels_first(op, x) if channels_last else x
    channels = op.dim(y, 1)
    if not isinstance(channels, int) or not block:
        raise UnsupportedOp("blocks of an unknown number of channels")
    missing = -channels % block
    pads = [0] * (2 * rank_of(y))
    pads[rank_of(y) + 1] = missing
    return op.Pad(y, pads=pads) if missing else op.Identity(y)


@define("ReorderOutput", domain=BLOCKED)
def reorder_output(
    op: Emitter, x: Tensor, *, channels: int, channels_last: int = 0, block: int = 0
) -> Tensor:
    """X without the channels of zeros."""
    whole = op.dim(x, 1) == channels
    y = x if whole else op.Slice(x, starts=[0], ends=[channels], axes=[1])
    return to_channels_last(op, y, rank_of(x)) if channels_last else op.Identity(y)


@define("Upsample", domain=BLOCKED)
def blocked_upsample(
    op: Emitter, x: Tensor, *, scales: Sequence[int], mode: str = "nearest",
    coordinate_transformation_mode: str = "asymmetric", block: int = 0,
) -> Tensor:  # fmt: skip
    """X enlarged by whole numbers."""
    factors = op.const(np.array(scales, np.float32))
    return op.Resize(
        x, None, factors, mode=mode, nearest_mode="floor",
        coordinate_transformation_mode=coordinate_transformation_mode,
    )  # fmt: skip
