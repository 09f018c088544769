"""XRAI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.methods.gradient.integrated_gradients import shares
from onnxcam.methods.needs import Array, Input, Straight, Ways
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_SCALES = (50, 100, 150, 250, 500, 1200)
_SIDE, _SIGMA, _SMALLEST, _GROWN = 224, 0.8, 150, 5  # pixels, the authors'
_LEAST = 50  # pixels that a region must add


@sampled_method(
    "xrai",
    kind="repeated",
    needs=(Input, Straight),
    cite="Kapishnikov et al., XRAI: Better Attributions Through Regions, ICCV 2019, algorithm 1",
    parameters=(
        Parameter(
            "steps", int, 100, 2, 10_000, "number of inputs, half of them from each baseline"
        ),
    ),
    style="overlay",  # smooth, and of regions
    cost=Cost(3, "steps"),
    anytime=True,
    unwritten="its regions come from a segmentation for which ONNX has no operators",
    signed=True,
    claim="Which regions of the picture have the most of the score for their size.",
    limits=(
        "A region is as good as the segmentation, which knows only colours. Everything is against "
        "a black and a white picture. Pictures only."
    ),
)
def xrai(x: Array, straight: Callable[[Sequence[Array]], Ways], *, steps: int) -> Estimate:
    """M = gain of the region that a pixel came in with, gain = mean over new pixels of max_c IG_c.

    Regions are Felzenszwalb's at six scales (of the picture from -1 to 1 at 224 x 224, each grown
    by 5 pixels); the one with the largest gain is added first, and the gains of the others are
    taken anew. Regions that would add fewer than 50 pixels are left out; what none has added has
    its own mean. Integrated gradients are averaged over two baselines, the smallest and the
    largest value of the prepared input. Their integral is by Gauss-Legendre quadrature; the
    authors' is a sum over an even grid.
    """
    if x.ndim != 3:
        raise UsageError(
            f"xrai explains pictures, and the input has {x.ndim - 1} axes of space",
            "use `method='integrated-gradients'`",
        )
    low, high = float(x.min()), float(x.max())
    ways = straight([np.full_like(x, low), np.full_like(x, high)])
    found = shares(x, ways, [(low, steps - steps // 2), (high, steps // 2)])
    masks = segments(np.moveaxis(x, 0, -1))
    return Estimate(np.stack([ranked(share.max(0), masks) for share in found]))


def segments(picture: Array) -> Array:
    """Return the regions of a picture [H, W, C], bool [regions, H, W]; they overlap."""
    from skimage.morphology import dilation, disk  # late: only here
    from skimage.segmentation import felzenszwalb
    from skimage.transform import resize

    low, span = picture.min(), float(np.ptp(picture)) or 1.0
    whole = (picture - low) / span * 2 - 1
    size: dict[str, Any] = {"mode": "constant", "preserve_range": True}
    small = resize(whole, (_SIDE, _SIDE), order=3, anti_aliasing=True, **size)  # type: ignore[no-untyped-call]
    found = []
    for scale in _SCALES:
        labels = felzenszwalb(small, scale=scale, sigma=_SIGMA, min_size=_SMALLEST)
        back = resize(labels, picture.shape[:2], order=0, anti_aliasing=False, **size)  # type: ignore[no-untyped-call]
        back = back.astype(int)
        found += [back == label for label in range(back.min(), back.max() + 1)]
    disc = disk(_GROWN)  # type: ignore[no-untyped-call]
    return np.stack([dilation(mask, footprint=disc) for mask in found])


def ranked(share: Array, masks: Array, least: int = _LEAST) -> Array:
    """Return for each pixel the gain of the region that it came in with.

    Args:
        share: What is shared out, float [H, W].
        masks: Regions, bool [regions, H, W].
        least: Pixels that a region must add.
    """
    flat, values = masks.reshape(len(masks), -1), share.ravel()
    found, left = np.full(values.shape, -np.inf), np.ones(values.shape, bool)
    counts, sums = flat.sum(1), flat @ values
    waiting = np.ones(len(flat), bool)
    while (waiting := waiting & (counts >= max(least, 1))).any():
        gains = np.where(waiting, sums / np.maximum(counts, 1), -np.inf)
        best = int(gains.argmax())
        new = flat[best] & left
        found[new] = gains[best]
        left &= ~new
        counts = counts - flat[:, new].sum(1)
        sums = sums - flat[:, new] @ values[new]
        waiting[best] = False
    if left.any():
        found[left] = values[left].mean()
    return found.reshape(share.shape)
