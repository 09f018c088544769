"""Repairs of ONNX's reference evaluator, so that it can be an oracle; import it for its effect.

What onnx 1.23 has wrong, each of which a node in this project's tests meets: ConvTranspose with
groups; a pool's ceil_mode (it pads the front too); MaxPool's Indices at stride 1, its SAME_LOWER
pads; GlobalMaxPool beside images; LRN (it walks over the batch, not the channels); the old
BatchNormalizations; AffineGrid in double; and loops over single elements that take minutes. The
pools and the sum of columns are written anew here, from the text of the specification.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.ops import (
    op_affine_grid,
    op_batch_normalization,
    op_col2im,
    op_conv_transpose,
    op_global_max_pool,
    op_lp_pool,
    op_lrn,
    op_max_pool,
    op_pool_common,
)

from support import reference_loops  # noqa: F401

# ---- ConvTranspose, Col2Im

_conv_transpose = op_conv_transpose.ConvTranspose._run


def _conv_transpose_by_group(self: Any, x: Any, w: Any, b: Any = None, **attributes: Any) -> Any:
    group = attributes.pop("group", None) or 1
    parts = zip(np.split(x, group, axis=1), np.split(w, group), strict=True)
    ys = [_conv_transpose(self, px, pw, None, group=1, **attributes)[0] for px, pw in parts]
    y = np.concatenate(ys, axis=1)
    return (y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2)),)


def _sum_of_columns(
    data: Any, image_shape: Any, kernel_shape: Any, dilations: Any, pads: Any, strides: Any
) -> Any:
    """Add columns [taps, windows] into an image: one shifted, strided addition a tap."""
    n = len(image_shape)
    total = [image_shape[i] + pads[i] + pads[n + i] for i in range(n)]
    reach = [(kernel_shape[i] - 1) * dilations[i] + 1 for i in range(n)]
    count = [(total[i] - reach[i]) // strides[i] + 1 for i in range(n)]
    low = [min(pads[i], 0) for i in range(n)]
    image = np.zeros([max(t, r) for t, r in zip(total, reach, strict=True)], data.dtype)
    assert not any(low), "negative pads"
    for tap, values in zip(np.ndindex(*kernel_shape), data, strict=True):
        start = [tap[i] * dilations[i] for i in range(n)]
        where = tuple(
            slice(b, b + (c - 1) * s + 1, s) for b, c, s in zip(start, count, strides, strict=True)
        )
        image[where] += values.reshape(count)
    return image[tuple(slice(pads[i], pads[i] + image_shape[i]) for i in range(n))]


# ---- pools


def _positions(x: Any, attributes: dict[str, Any]) -> tuple[list[Any], list[tuple[int, int]]]:
    """Return the input positions of every window's taps, int [out, taps] per axis, and the pads."""
    kernel = attributes["kernel_shape"]
    n = len(kernel)
    strides, dilations = (attributes.get(k) or [1] * n for k in ("strides", "dilations"))
    explicit, kind = attributes.get("pads") or [0] * 2 * n, attributes.get("auto_pad") or "NOTSET"
    positions, pads = [], []
    for i, size in enumerate(x.shape[2:]):
        reach, stride = (kernel[i] - 1) * dilations[i] + 1, strides[i]
        begin, end = (explicit[i], explicit[n + i]) if kind == "NOTSET" else (0, 0)
        if kind.startswith("SAME"):
            out = -(-size // stride)
            total = max((out - 1) * stride + reach - size, 0)
            small, big = total // 2, total - total // 2
            begin, end = (small, big) if kind == "SAME_UPPER" else (big, small)
        elif attributes.get("ceil_mode"):
            out = -(-(size + begin + end - reach) // stride) + 1
            out -= (out - 1) * stride >= size + begin
        else:
            out = (size + begin + end - reach) // stride + 1
        starts = np.arange(out)[:, None] * stride - begin
        positions.append(starts + np.arange(kernel[i]) * dilations[i])
        pads.append((begin, end))
    return positions, pads


def _taken(x: Any, positions: list[Any], fill: float) -> Any:
    """Return [N, C, ...out, taps], ``fill`` where a tap lies beside the input."""
    n = len(positions)
    for i, where in enumerate(positions):
        axis = 2 + 2 * i
        inside = (where >= 0) & (where < x.shape[axis])
        taken = np.take(x, np.where(inside, where, 0), axis)
        shape = [1] * taken.ndim
        shape[axis : axis + 2] = where.shape
        x = np.where(inside.reshape(shape), taken, np.asarray(fill, x.dtype))
    order = [0, 1, *range(2, 2 + 2 * n, 2), *range(3, 3 + 2 * n, 2)]
    x = x.transpose(order)
    return x.reshape(*x.shape[: 2 + n], -1)


def _pool(self: Any, kind: str, include: Any, x: Any, **attributes: Any) -> Any:
    positions, pads = _positions(x, attributes)
    count = np.ones(())
    for where, size, (begin, end) in zip(positions, x.shape[2:], pads, strict=True):
        # What counts is the padding too, but not what ceil_mode adds behind it.
        low, high = (-begin, size + end) if include else (0, size)
        count = np.multiply.outer(count, ((where >= low) & (where < high)).sum(1))
    return ((_taken(x, positions, 0).sum(-1) / np.maximum(count, 1)).astype(x.dtype),)


def _lp_pool(self: Any, x: Any, p: Any = 2, **attributes: Any) -> Any:
    attributes.pop("count_include_pad", None)
    powers = _taken(np.abs(x) ** p, _positions(x, attributes)[0], 0).sum(-1)
    return ((powers ** (1 / p)).astype(x.dtype),)


def _max_pool(self: Any, x: Any, storage_order: Any = 0, **attributes: Any) -> Any:
    positions, _ = _positions(x, attributes)
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    taps = _taken(x, positions, low)
    if len(self.output) == 1:
        return (taps.max(-1),)
    order = "F" if storage_order else "C"
    flat = np.arange(int(np.prod(x.shape[2:]))).reshape(x.shape[2:], order=order)
    places = np.broadcast_to(_taken(flat[None, None], positions, -1), taps.shape)
    best = np.where(places < 0, low, taps).argmax(-1)[..., None]
    images = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(positions))
    return taps.max(-1), np.take_along_axis(places, best, -1)[..., 0] + images * flat.size


def _global_max_pool(self: Any, x: Any) -> Any:
    return (x.max(tuple(range(2, x.ndim)), keepdims=True),)


# ---- normalisations


def _lrn(self: Any, x: Any, alpha: float, beta: float, bias: float, size: int) -> Any:
    before, after = (size - 1) // 2, size // 2
    squares = np.pad(x**2, [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    return ((x / (bias + alpha / size * total) ** beta).astype(x.dtype),)


def _batch_normalization(
    self: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, epsilon: float = 1e-5,
    **_: Any,
) -> Any:  # fmt: skip
    """At inference; one scale a channel."""
    assert len(self.output) == 1, "training mode of an old opset"
    s, b, m, v = (t.reshape(-1, *[1] * (x.ndim - 2)) for t in (scale, bias, mean, variance))
    return ((s * (x - m) / np.sqrt(v + epsilon) + b).astype(x.dtype),)


def _affine_grid(self: Any, theta: Any, size: Any, align_corners: int = 0) -> Any:
    """It returned float32 for any input."""
    axes = []
    for n in size[2:]:
        ends = (n - 1) / n if not align_corners else 1
        axes.append(np.linspace(-ends, ends, n))
    places = np.meshgrid(*axes, indexing="ij")[::-1]
    base = np.stack([*places, np.ones(size[2:])], -1)
    grid = base.reshape(-1, base.shape[-1]) @ theta.transpose(0, 2, 1)
    return (grid.reshape(len(theta), *size[2:], -1).astype(theta.dtype),)


op_conv_transpose.ConvTranspose._run = _conv_transpose_by_group
op_conv_transpose.col2im_naive_implementation = _sum_of_columns
op_col2im.col2im_naive_implementation = _sum_of_columns
op_pool_common.CommonPool._run = _pool
op_lp_pool.LpPool._run = _lp_pool
op_max_pool.MaxPool._run = _max_pool
op_global_max_pool.GlobalMaxPool._run = _global_max_pool
op_lrn.LRN._run = _lrn
for old in (
    op_batch_normalization.BatchNormalization_6,
    op_batch_normalization.BatchNormalization_9,
):
    old._run = _batch_normalization
op_affine_grid.AffineGrid._run = _affine_grid
