"""The score while places are taken away or put back, in the order of the map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

import numpy as np

from onnxcam.errors import InputError, UsageError
from onnxcam.metrics.registry import Array, Predict
from onnxcam.metrics.sample import Explained, along, ranks


def curve(
    explained: Explained,
    predict: Predict,
    *,
    steps: int,
    baseline: float | Array | Literal["blur"],
    batch_size: int,
    insert: bool = False,
) -> tuple[Array, Array]:
    """Return fractions of the places, 0 to 1, and the score at each: float64 [steps + 1] both.

    Args:
        explained: A map over its input.
        predict: Inputs [N, ...] -> scores [N, C].
        steps: In how many parts the places go.
        baseline: What stands where nothing is: a number, values that broadcast to the input, or
            "blur" for the input blurred.
        batch_size: Inputs for one call of ``predict``.
        insert: Whether places are put back into the baseline, rather than taken away.

    Raises:
        InputError: The map or a score is not finite.
        UsageError: The map is not at the input's size, or there are no steps.
    """
    if steps < 1:
        raise UsageError(f"no curve has {steps} steps", "give 1 or more as `steps`")
    rank = ranks(explained)
    counts = np.rint(np.linspace(0, rank.size, steps + 1)).astype(np.int64)
    x, placed = explained.tensor, along(explained, rank)
    empty = nothing(explained, baseline)
    inner, outer = (x, empty) if insert else (empty, x)
    inputs = (np.where(placed < n, inner, outer) for n in counts)
    return counts / rank.size, scores_of(inputs, predict, explained.target, batch_size)


def area(places: Array, values: Array) -> float:
    """Return the area under a curve, by trapezoids."""
    return float(np.sum(np.diff(places) * (values[1:] + values[:-1]) / 2))


def scores_of(inputs: Iterable[Array], predict: Predict, target: int, batch_size: int) -> Array:
    """Return the score of a class for many inputs, float64 [N].

    Raises:
        InputError: One is not finite.
    """
    found: list[float] = []
    for batch in _batches(inputs, batch_size):
        found += list(np.asarray(predict(np.stack(batch)))[:, target])
    scores = np.asarray(found, np.float64)
    if not np.isfinite(scores).all():
        raise InputError("a score of the changed input is not finite", "choose another `baseline`")
    return scores


def nothing(explained: Explained, baseline: float | Array | Literal["blur"]) -> Array:
    """Return what stands where nothing is, in the shape of the input.

    "blur" is a Gaussian of a twentieth of each extent.
    """
    x = explained.tensor
    if isinstance(baseline, str):
        from scipy import ndimage

        letters = explained.layout or ""
        widths = [0.0 if c == "C" else n / 20 for c, n in zip(letters, x.shape, strict=True)]
        blurred = ndimage.gaussian_filter(x.astype(np.float64), widths, mode="nearest")
        return np.asarray(blurred.astype(x.dtype))
    return np.broadcast_to(np.asarray(baseline, x.dtype), x.shape)


def _batches(items: Iterable[Array], size: int) -> Iterator[list[Array]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
