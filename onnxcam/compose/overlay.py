"""The map over the picture, in the graph: ready to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor

_PLANES = "NCHW"


@dataclass(frozen=True)
class Drawing:
    """How the input becomes a picture again, and how a map is drawn on it.

    Attributes:
        layout: One letter an axis of the input: N, H, W and, for other than grey ones, C.
        channels: "RGB", "BGR" or "GRAY": the order of its channels.
        scale: What each pixel 0 to 255 was multiplied by; the input is
            `(pixel * scale - mean) / std`.
        mean: One number, or one a channel of the input.
        std: One number, or one a channel of the input.
        table: Colours from the lowest to the highest value, uint8 sRGB [steps, 3].
        signed: Whether the scale is symmetric about 0 (the colour fades with the value), rather
            than from 0 to the largest value.
        alpha: Share of the colour in the picture, 0 to 1.
    """

    layout: str
    channels: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    table: np.ndarray[Any, Any]
    signed: bool
    alpha: float = 0.5


def drawn(op: Emitter, x: Tensor, map: Tensor, how: Drawing) -> Tensor:
    """Return every map of every input drawn on that input.

    The values are those of :func:`onnxcam.output.render.overlay`: each map is scaled by its own
    range, NaN and infinities count as 0.

    Args:
        op: Emitter.
        x: The input, with the axes ``how.layout``.
        map: float32 [N, K, H, W], not scaled, at the input's size.
        how: How to draw.

    Returns:
        uint8 sRGB [N, K, H, W, 3].
    """
    with op.scope("overlay"):
        below = op.Unsqueeze(_picture(op, x, how), axes=[1])
        level = _level(op, map, signed=how.signed)
        unit = op.Mul(op.Add(level, 1), 0.5) if how.signed else level
        steps = op.Round(op.Mul(unit, float(len(how.table) - 1)))
        colours = op.Gather(how.table.astype(np.float32), op.cast(steps, np.int64), axis=0)
        weight: Tensor | float = how.alpha
        if how.signed:
            fading = op.Mul(op.Sqrt(op.Abs(level)), how.alpha)
            weight = op.Unsqueeze(fading, axes=[4])
        blend = op.Add(below, op.Mul(op.Sub(colours, below), weight))
        return op.cast(op.Round(blend), np.uint8)


@quirks.works_around(quirks.SLOW_LAST_AXIS)
def _picture(op: Emitter, x: Tensor, how: Drawing) -> Tensor:
    """Return the pixels behind the input, whole numbers float32 [N, H, W, 3] from 0 to 255.

    The colours are planes until last.
    """
    pixels, axes = op.cast(x, np.float32), how.layout
    if "C" not in axes:
        pixels, axes = op.Unsqueeze(pixels, axes=[len(axes)]), axes + "C"
    if axes != _PLANES:
        pixels = op.Transpose(pixels, perm=[axes.index(a) for a in _PLANES])
    std, mean = (np.asarray(v, np.float64).reshape(-1, 1, 1) for v in (how.std, how.mean))
    factor, offset = (v.astype(np.float32) for v in (std / how.scale, mean / how.scale))
    pixels = op.Add(op.Mul(pixels, factor), offset)
    pixels = op.Clip(op.Round(pixels), 0.0, 255.0)
    if how.channels != "RGB":
        order = [2, 1, 0] if how.channels == "BGR" else [0, 0, 0]
        pixels = op.Gather(pixels, op.const(order, np.int64), axis=1)
    return op.Transpose(pixels, perm=[0, 2, 3, 1])


def _level(op: Emitter, map: Tensor, *, signed: bool) -> Tensor:
    """Return each map [n, k] scaled: 0 to 1 by its maximum, or -1 to 1 by its magnitude."""
    finite = op.Less(op.Abs(map), float("inf"))  # False for NaN too
    map = op.Where(finite, map, 0)
    size = op.Abs(map) if signed else map
    largest = op.ReduceMax(size, axes=[2, 3], keepdims=1)
    positive = op.Greater(largest, 0)
    level = op.Div(map, op.Where(positive, largest, 1))
    level = op.Where(positive, level, 0)
    return level if signed else op.Relu(level)
