"""Whether maps put the same places first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.metrics.registry import Array


def rank_agreement(maps: Sequence[Array]) -> Array:
    """Return Spearman's rank correlation of every two maps: float64 [M, M], -1 to 1.

    Values that are the same share their mean rank; nan where a map is constant.

    Args:
        maps: Of one shape.

    Raises:
        UsageError: They are of several shapes.
    """
    shapes = {np.shape(map) for map in maps}
    if len(shapes) > 1:
        raise UsageError(
            f"maps of the shapes {', '.join(map(str, sorted(map(list, shapes))))} have no places "
            "in common",
            "explain with `upsampling='bicubic'`",
        )
    from scipy.stats import rankdata

    ranked = np.stack([rankdata(np.asarray(map, np.float64)) for map in maps])
    ranked = ranked.reshape(len(maps), -1)
    ranked -= ranked.mean(1, keepdims=True)
    size = np.linalg.norm(ranked, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = (ranked @ ranked.T) / np.outer(size, size)
    return found
