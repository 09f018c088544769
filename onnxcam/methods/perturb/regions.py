"""An input cut into regions that are hidden one by one or together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

import numpy as np

from onnxcam.errors import InputError
from onnxcam.inputs.arrays import load_said
from onnxcam.methods.needs import Array
from onnxcam.methods.parameters import Parameter

REGIONS = Parameter(
    "regions", int, 50, 1, 100_000,
    "number of parts that the input is cut into: superpixels of pictures and volumes, equal pieces "
    "of signals, and each feature of a table that has no more",
)  # fmt: skip

SEGMENTS = Parameter(
    "segments", str, "", None, None,
    "file that says which part each place of the prepared input belongs to, in the place of "
    "regions: .npy of whole numbers, in the shape of its space (features, of a table)",
)  # fmt: skip


def regions(x: Array, count: int, segments: str = "") -> Array:
    """Return the region of every position, int64 [*space], from 0 without gaps.

    Args:
        x: The input, [C, *space].
        count: How many regions there are at most; about as many for SLIC (Achanta et al. 2012).
        segments: A file with the regions, "" for none: then the count means nothing.

    Raises:
        InputError: The file cannot be read, or does not fit.
    """
    space = x.shape[1:]
    if segments:
        return _given(segments, space)
    size = prod(space)
    if size <= count:
        return np.arange(size).reshape(space)
    if len(space) == 1:
        return np.asarray(np.arange(size) * count // size)
    from skimage.segmentation import slic

    low, high = float(x.min()), float(x.max())
    scaled = ((x - low) / ((high - low) or 1)).astype(np.float64)
    picture, found = np.moveaxis(scaled, 0, -1), np.zeros(space, int)
    for compactness in (10, 100, 1000):  # noise has no edges to go by: there space alone counts
        found = slic(picture, count, compactness=compactness, channel_axis=-1, start_label=0)
        found = np.unique(found, return_inverse=True)[1].reshape(space)
        if found.max() + 1 >= count / 2:
            break
    return np.asarray(found)


def _given(file: str, space: tuple[int, ...]) -> Array:
    """Return the regions of a file."""
    found = load_said(file, "segments")
    if found.shape != space or found.dtype.kind not in "iub":
        raise InputError(
            f"the segments {file} do not fit: {found.dtype} {list(found.shape)}, and the input has "
            f"{list(space)} places",
            "give a whole number for each place of the prepared input",
        )
    return np.asarray(np.unique(found, return_inverse=True)[1]).reshape(space)


def without(x: Array, empty: Array, labels: Array, seen: Iterable[Array]) -> Iterator[Array]:
    """Yield inputs that show some regions.

    Args:
        x: The input, [C, *space].
        empty: What stands where it is hidden.
        labels: See :func:`regions`.
        seen: For each input which regions are shown, bool [R].
    """
    for shown in seen:
        yield np.where(shown[labels], x, empty)


def spread(values: Array, labels: Array) -> Array:
    """Return values of regions [K, R] as maps [K, *space]."""
    return np.asarray(values[:, labels])
