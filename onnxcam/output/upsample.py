"""Bring a raw saliency map to the size of the model's input, values unchanged in meaning.

The resampling is one convention for every rank, chosen so that a graph can do the same:
half-pixel centres, borders repeated ("edge"), no antialiasing, axes one after another.

- ``bicubic`` is Keys' cubic convolution with a = -0.5 (scikit-image's `warp` of order 3, bit for
  bit), which is ONNX Resize with ``mode="cubic"``, ``cubic_coeff_a=-0.5``, ``exclude_outside=0``
  and ``coordinate_transformation_mode="half_pixel"``: equal to float32 rounding. It is not
  `skimage.transform.resize` (a B-spline), Pillow (a = -0.5, but borders left out and the rest
  re-weighted: ``exclude_outside=1``) or torch (a = -0.75).
- ``nearest`` is ONNX Resize with ``mode="nearest"``, ``nearest_mode="round_prefer_ceil"`` and
  half-pixel centres, in exact integer arithmetic.

Nothing is normalised or clipped. Bicubic overshoots: between samples the result can leave the
map's own range by 1/8 of that range for one axis and 9/32 for two (1/14 at a single step), so a
map that is nowhere negative can get small negative values. In exchange it is linear:
``upsample(a + b) == upsample(a) + upsample(b)`` to rounding. A constant stays exactly constant.
Bicubic makes NaN of every sample in whose sum a NaN or an infinity has a weight (less than two
cells away along each axis), and of no other; nearest copies both.

A map whose cells are no even shares of the whole input (behind a crop, a flip, ...) is given the
:class:`~onnxcam.output.spans.Span` of each axis: it is 0 outside of what its cells were made of.

References:
    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnxcam.errors import InputError, UsageError
from onnxcam.output.spans import Span

Method = Literal["bicubic", "nearest", "none"]

MAX_SPACE_AXES = 3
_MATRIX = 1 << 18  # entries of a matrix that is worth its memory
_ONE_THREAD = 1 << 18  # multiplications that OpenBLAS does in one thread
_ROWS = 256  # rows made at once, where there are many


def upsample(
    map: NDArray[Any],
    size: tuple[int, ...],
    method: Method = "bicubic",
    spans: Sequence[Span] = (),
) -> NDArray[np.float32]:
    """Resample the trailing axes of a map to a size; see the module for the conventions.

    Args:
        map: Raw values, ``[*, *space]`` with one, two or three space axes; any real dtype. Leading
            axes (batch, target) are kept.
        size: Extent of each space axis of the result, in samples; its length says how many
            trailing axes are space.
        method: ``bicubic``, ``nearest``, or ``none``, which leaves the map at its own size.
        spans: Where the cells of each space axis lie; none for even shares of the whole.

    Returns:
        Raw values, float32 ``[*, *size]`` (for ``none`` the map's own shape).

    Raises:
        UsageError: If the method is unknown or the size is not one to three positive integers.
        InputError: If the map has too few axes, an axis without samples, or no real numbers.
    """
    values = _checked(map, size, method)
    if method == "none":
        return values.astype(np.float32)
    resample = _bicubic if method == "bicubic" else _nearest
    first = values.ndim - len(size)
    for axis, samples in enumerate(size, start=first):
        span = spans[axis - first] if spans else None
        if span is not None and span == (0, samples, 0, samples):
            span = None
        if span is not None or values.shape[axis] != samples:
            values = resample(values, axis, int(samples), span)
    return np.array(values, dtype=np.float32, order="C")


def _bicubic(values: NDArray[Any], axis: int, samples: int, span: Span | None) -> NDArray[Any]:
    """Resample one axis by cubic convolution, with NaN where a non-finite value has a weight."""
    finite = np.isfinite(values)
    if finite.all():
        return _cubic_convolution(values, axis, samples, span)
    out = _cubic_convolution(np.where(finite, values, 0), axis, samples, span)
    out[_cubic_convolution(~finite, axis, samples, span) != 0] = np.nan
    return out


def _cubic_convolution(
    values: NDArray[Any], axis: int, samples: int, span: Span | None
) -> NDArray[np.float64]:
    """Resample one axis of finite values: it becomes the rows of an image, the rest its columns."""
    count = values.shape[axis]
    few = count * samples <= _MATRIX
    if few and axis == values.ndim - 1:  # nothing has to be turned round
        image = values.reshape(-1, count).astype(np.float64)
        out = _product(image, _matrix(count, samples, span).T)
        return out.reshape(*values.shape[:-1], samples)
    rows = np.moveaxis(values, axis, 0)
    image = rows.reshape(count, -1).astype(np.float64)
    if few:
        out = _product(_matrix(count, samples, span), image)
    else:
        out = _convolved(image, samples, span)
    return np.moveaxis(out.reshape(samples, *rows.shape[1:]), 0, axis)


@lru_cache(maxsize=32)
def _matrix(count: int, samples: int, span: Span | None) -> NDArray[np.float64]:
    """Return what resamples ``count`` values, [samples, count]: faster than to convolve."""
    return _convolved(np.eye(count), samples, span)


def _product(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply in pieces so small that no threads are woken for them, which takes longer."""
    rows, columns = len(left), right.shape[1]
    pieces = -(-left.size * columns // _ONE_THREAD)
    if pieces == 1:
        return left @ right
    out, step = np.empty((rows, columns)), -(-rows // pieces)
    for first in range(0, rows, step):
        np.matmul(left[first : first + step], right, out=out[first : first + step])
    return out


def _convolved(
    image: NDArray[np.float64], samples: int, span: Span | None = None
) -> NDArray[np.float64]:
    """Resample the rows of an image, some at a time: each is a cubic of the four rows around it."""
    count = len(image)
    step = count / samples
    out = np.empty((samples, image.shape[1]))
    for first in range(0, samples, _ROWS):
        index = np.arange(first, min(first + _ROWS, samples))
        at = step * index + (0.5 * step - 0.5) if span is None else centres(index, count, span)
        below = np.floor(at)
        t = (at - below)[:, None]
        taps = (below.astype(np.intp) + k for k in (-1, 0, 1, 2))
        a, b, c, d = (image[np.clip(tap, 0, count - 1)] for tap in taps)
        square = 2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)
        out[first : first + _ROWS] = b + 0.5 * t * (c - a + t * square)
    if span is not None:
        out[~covered(np.arange(samples), span)] = 0
    return out


def _nearest(values: NDArray[Any], axis: int, samples: int, span: Span | None) -> NDArray[Any]:
    """Resample one axis by the nearest sample's value, the later one where two are as near."""
    count = values.shape[axis]
    if span is None:
        index = (2 * np.arange(samples) + 1) * count // (2 * samples)
        return np.asarray(np.take(values, index, axis=axis))
    at = centres(np.arange(samples), count, span)
    index = np.clip(np.floor(at + 0.5), 0, count - 1).astype(np.intp)
    nearest = np.take(values, index, axis=axis)
    inside = covered(np.arange(samples), span)
    others = tuple(i for i in range(values.ndim) if i != axis)
    return np.where(np.expand_dims(inside, others), nearest, 0)


def centres(index: NDArray[Any], count: int, span: Span) -> NDArray[np.float64]:
    """Return where samples of the input lie among the ``count`` cells of a span; 0 is the first's.

    Args:
        index: Numbers of the samples.
        count: How many cells there are.
        span: Where they lie.
    """
    found: NDArray[np.float64] = (index + (0.5 - span.first)) * (
        count / (span.last - span.first)
    ) - 0.5
    return found


def covered(index: NDArray[Any], span: Span) -> NDArray[np.bool_]:
    """Tell of samples of the input whether the cells of a span were made of them."""
    inside: NDArray[np.bool_] = (index + 0.5 >= span.begin) & (index + 0.5 <= span.end)
    return inside


def _checked(map: NDArray[Any], size: tuple[int, ...], method: str) -> NDArray[Any]:
    """Return the map as an array, or say what keeps it from being resampled."""
    if method not in get_args(Method):
        raise UsageError(
            f"upsample: unknown method {method!r}", f"Choose one of {', '.join(get_args(Method))}"
        )
    if not 1 <= len(size) <= MAX_SPACE_AXES or any(int(n) != n or n < 1 for n in size):
        raise UsageError(
            f"upsample: size {size!r} is not one to three positive integers",
            "Pass the space extents of the model's input, such as (224, 224)",
        )
    values = np.asarray(map)
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"upsample: a map of dtype {values.dtype} has no real numbers", "Pass a float array"
        )
    if values.ndim < len(size):
        raise InputError(
            f"upsample: a map of shape {values.shape} has fewer axes than the size {size!r}",
            "Pass a map whose trailing axes are the space axes",
        )
    if 0 in values.shape:
        raise InputError(
            f"upsample: a map of shape {values.shape} has no values",
            "Choose a feature layer whose space axes are not empty",
        )
    return values
