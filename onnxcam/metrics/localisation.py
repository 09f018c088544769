"""Whether a map lies where a person says that the object is."""

from __future__ import annotations

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.metrics.registry import Array, metric
from onnxcam.metrics.sample import Explained, finite


@metric(
    "pointing-game", kind="localisation", better="higher",
    cite="Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016",
)  # fmt: skip
def pointing_game(explanation: Explained, mask: Array, *, tolerance: float = 0.0) -> float:
    """1 where the map's highest place lies in the mask, else 0; of several the share that does.

    Args:
        explanation: Its map has the mask's shape.
        mask: Bool, where the object is.
        tolerance: How far off a hit may be, in samples; the paper allows 15.

    Raises:
        UsageError: The mask is empty or of another shape.
        InputError: The map is not finite.
    """
    map, inside = _pair(explanation, mask)
    if tolerance > 0:
        from scipy import ndimage

        inside = ndimage.distance_transform_edt(~inside) <= tolerance
    return float(inside[map == map.max()].mean())


@metric("energy", kind="localisation", better="higher", cite="Wang et al., Score-CAM, 2020, eq. 11")
def energy(explanation: Explained, mask: Array) -> float:
    """Sum of the map in the mask / sum of the map, of what is above 0; nan of a map without.

    A map that is the same everywhere has the mask's share of the picture.
    """
    map, inside = _pair(explanation, mask)
    positive = np.maximum(map, 0)
    total = positive.sum()
    return float(positive[inside].sum() / total) if total > 0 else float("nan")


@metric(
    "iou", kind="localisation", better="higher",
    cite="Selvaraju et al., Grad-CAM, 2017 (localisation by a threshold)",
)  # fmt: skip
def iou(explanation: Explained, mask: Array, *, quantile: float | None = None) -> float:
    """|H and mask| / |H or mask|, H the map's highest places.

    Args:
        explanation: Its map has the mask's shape.
        mask: Bool, where the object is.
        quantile: H is what lies above this quantile of the map, 0 to 1; None takes as many places
            as the mask has.

    Raises:
        UsageError: The mask is empty or of another shape, or there is no such quantile.
        InputError: The map is not finite.
    """
    map, inside = _pair(explanation, mask)
    if quantile is None:
        count = int(inside.sum())
    elif 0 <= quantile < 1:
        count = int((map > np.quantile(map, quantile)).sum())
    else:
        raise UsageError(f"{quantile} is no quantile", "give 0 to 1 as `quantile`")
    highest = np.zeros(map.size, bool)
    highest[np.argsort(-map.ravel(), kind="stable")[:count]] = True
    both = highest & inside.ravel()
    return float(both.sum() / (highest.sum() + inside.sum() - both.sum()))


def _pair(explanation: Explained, mask: Array) -> tuple[Array, Array]:
    map, inside = finite(explanation), np.asarray(mask) != 0
    if map.shape != inside.shape:
        raise UsageError(
            f"the mask is {list(inside.shape)}, the map {list(map.shape)}",
            "give a mask of the map's shape; explain with `upsampling='bicubic'`",
        )
    if not inside.any():
        raise UsageError("the mask is empty", "give one that is not 0 where the object is")
    return map, inside
