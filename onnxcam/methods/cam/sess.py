"""SESS: Grad-CAM of many windows at many scales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.methods.needs import (
    Activation,
    Array,
    Ask,
    FeatureAndGradient,
    Input,
    Probability,
    Score,
)
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import chosen, score
from onnxcam.methods.perturb.masks import interpolated
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_STEP = 2 / 7  # 64 of 224 pixels: by how much of the input each scale is larger than the last


@dataclass(frozen=True)
class _Window:
    """A part of the enlarged input that is as large as the input itself.

    Attributes:
        scale: How much larger the whole is.
        start: Where the window begins, along each axis of space.
    """

    scale: float
    start: tuple[int, ...]


@sampled_method(
    "sess",
    kind="repeated",
    needs=(Input, Activation, FeatureAndGradient, Score, Probability),
    cite="Tursun et al., SESS: Saliency Enhancing with Scaling and Sliding, ECCV 2022",
    parameters=(
        Parameter("scales", int, 6, 1, 100,
                  "number of sizes that the input is enlarged to, each 2/7 of it larger than the "
                  "last; the first is its own"),
        Parameter("keep", float, 0.5, 0.001, 1,
                  "part of the windows, those with the highest scores, that maps are made of"),
        score("probability"),
    ),
    cost=Cost(1, "windows"),
    windows=True,
    claim=(
        "As Grad-CAM, averaged over windows of the input at several scales, weighted by how sure "
        "the model is of the class in each: small and repeated objects are seen as well."
    ),
    limits=(
        "A window may show a part that stands for something else. Every window counts by its own "
        "maximum, so the map has no unit. What holds for Grad-CAM holds for each."
    ),
)  # fmt: skip
def sess(
    x: Array, a: Array, both: Ask, scores: Ask, probabilities: Ask, *, scales: int, keep: float,
    score: str,
) -> Estimate:  # fmt: skip
    """M(p) = sum_i w_i L_i(p) / (number of windows i with w_i L_i(p) > 0), w_i = y_i / max y.

    L_i is the Grad-CAM of window i at the window's size, brought to 0 to 1 and laid where the
    window is; y_i is the class's probability in it (scores below 0 count as 0). Windows are as
    large as the input and lie side by side, the last ones at the border. In the end a Gaussian of
    5 of 224 pixels smooths, cut off at one deviation. So it is in the authors' program. That has
    12 scales and keeps all windows unless it is told otherwise; here there are fewer of both.

    Raises:
        UsageError: The layer has not the axes of space of the input.
    """
    from scipy import ndimage

    space = x.shape[1:]
    if a.ndim != x.ndim or not space:
        raise UsageError(
            "the windows of the input have no counterpart in the layer, which has other axes",
            "choose another `feature_layer`, or `method='gradcam'`",
        )
    windows = _windows(space, scales)
    ask = chosen(score, scores, probabilities)
    sure = np.stack(list(ask(_cut(x, windows), len(windows)))).T.astype(np.float64)  # [K, n]
    sure = np.maximum(sure, 0)
    most = max(1, round(keep * len(windows)))
    best = [np.sort(np.argsort(-row, kind="stable")[:most]) for row in sure]
    asked = sorted({int(i) for row in best for i in row})
    total, count = np.zeros((len(sure), *space)), np.zeros((len(sure), *space))
    for i, layer in zip(asked, both(_cut(x, [windows[i] for i in asked]), len(asked)), strict=True):
        for k, row in enumerate(best):
            top = sure[k].max()
            if i in row:
                part = _placed(_gradcam(layer[k]), windows[i], space)
                part = part * (sure[k, i] / top if top > 0 else 1)
                total[k] += part
                count[k] += part > 0
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    widths = [n * 5 / 224 for n in space]
    maps = np.stack(
        [ndimage.gaussian_filter(each, widths, mode="mirror", truncate=1) for each in mean]
    )
    facts = {"windows": np.full(len(sure), len(windows))}
    return Estimate(maps, facts=facts, doubts=tuple(map(_doubt, sure)))


def _doubt(sure: Array) -> str | None:
    return None if sure.max() > 0 else "the class has no score above 0 in any window"


def _gradcam(layer: Array) -> Array:
    """Return Grad-CAM [*space] of features and gradients [2, C, *space]."""
    features, slopes = layer.astype(np.float64)
    weights = slopes.reshape(len(slopes), -1).mean(1)
    return np.asarray(np.maximum(np.tensordot(weights, features, 1), 0))


def _windows(space: tuple[int, ...], scales: int) -> list[_Window]:
    windows = []
    for number in range(scales):
        scale = 1 + number * _STEP
        starts = [
            dict.fromkeys(min(s, round(n * scale) - n) for s in range(0, round(n * scale), n))
            for n in space
        ]
        windows += [_Window(scale, start) for start in product(*starts)]
    return windows


def _cut(x: Array, windows: list[_Window]) -> Iterator[Array]:
    """Yield what each window shows; those of one scale come one after another."""
    scale, whole = 1.0, x
    for window in windows:
        if window.scale != scale:
            scale, whole = window.scale, _resized(x, [round(n * window.scale) for n in x.shape[1:]])
        box = tuple(slice(s, s + n) for s, n in zip(window.start, x.shape[1:], strict=True))
        yield np.ascontiguousarray(whole[(slice(None), *box)], np.float32)


def _placed(part: Array, window: _Window, space: tuple[int, ...]) -> Array:
    """Return the map of a window, from 0 to 1, at the place that it has in the input, [*space]."""
    large = _resized(part[None], space)[0]
    low, high = large.min(), large.max()
    large = (large - low) / (high - low) if high > low else np.sign(large)
    whole = np.zeros([round(n * window.scale) for n in space])
    box = tuple(slice(s, s + n) for s, n in zip(window.start, space, strict=True))
    whole[box] = large
    small: Array = _resized(whole[None], space)[0]
    return small


def _resized(x: Array, sizes: list[int] | tuple[int, ...]) -> Array:
    """Return [C, *space] at another size, linearly."""
    for axis, size in enumerate(sizes, start=1):
        if x.shape[axis] != size:
            x = interpolated(x, axis, size)
    return x
