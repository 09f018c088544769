"""Maps that know nothing of the model: what a method has to beat."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from onnxcam.metrics.registry import Array
from onnxcam.metrics.sample import Explained, laid


def centre(explained: Explained) -> Array:
    """A bell in the middle, a quarter of each extent wide: where photographers put the object."""
    places = np.meshgrid(*(np.linspace(-2, 2, n) for n in explained.map.shape), indexing="ij")
    return np.asarray(np.exp(-np.square(places).sum(0) / 2))


def random(explained: Explained, *, seed: int = 0) -> Array:
    """Independent numbers from 0 to 1."""
    return np.asarray(np.random.default_rng(seed).random(explained.map.shape))


def edges(explained: Explained) -> Array:
    """The Sobel filter's magnitude, over all channels: what is seen without any model."""
    laid(explained)
    layout, x = explained.layout or "", np.asarray(explained.tensor, np.float64)
    planes = np.moveaxis(x, layout.index("C"), 0) if "C" in layout else x[None]
    from scipy import ndimage

    slopes = [ndimage.sobel(p, axis, mode="nearest") for p in planes for axis in range(p.ndim)]
    found: Array = np.sqrt(np.square(slopes).sum(0)) / sqrt(len(planes))
    return found


BASELINES: dict[str, Callable[[Explained], Array]] = {
    "centre": centre,
    "random": random,
    "edges": edges,
}
