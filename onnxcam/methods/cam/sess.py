"""SESS: Grad-CAM of many windows at many scales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product

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
from onnxcam.methods.perturb.masks import resized
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
    anytime=True,
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
    The first window is the input itself: where this ends before any other has a map, that is it.

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
    (first,) = both(_cut(x, windows[:1]), len(windows) + _kept(len(windows), keep))
    ask = chosen(score, scores, probabilities)
    answers = list(ask(_cut(x, windows))) or [np.ones(len(first))]
    sure = np.maximum(np.stack(answers).T.astype(np.float64), 0)  # [K, n]
    best = [_surest(row, keep) for row in sure]
    top = sure.max(1, keepdims=True)
    weights = np.divide(sure, top, out=np.ones_like(sure), where=top > 0)
    later = sorted(set().union(*best) - {0})
    layers = both(_cut(x, [windows[i] for i in later]), len(later))
    means = [_Mean(space) for _ in sure]
    for layer, i in chain([(first, 0)], zip(layers, later, strict=False)):
        for k, row in enumerate(best):
            if i in row:
                means[k].add(layer[k], windows[i], weights[k, i])
    for k, mean in enumerate(means):
        if not mean.windows:
            mean.add(first[k], windows[0], 1)
    widths = [n * 5 / 224 for n in space]
    maps = np.stack(
        [ndimage.gaussian_filter(m.value, widths, mode="mirror", truncate=1) for m in means]
    )
    facts = {"windows": np.full(len(sure), len(answers))}
    return Estimate(maps, facts=facts, doubts=tuple(map(_doubt, sure)))


class _Mean:
    """The mean of the windows' maps where they have one.

    Args:
        space: Size of the input.

    Attributes:
        windows: How many were added.
    """

    def __init__(self, space: tuple[int, ...]) -> None:
        self.windows, self._total, self._count = 0, np.zeros(space), np.zeros(space)

    def add(self, layer: Array, window: _Window, weight: float) -> None:
        """Add the map of a window: features and gradients [2, C, *space of the layer]."""
        part = _placed(_gradcam(layer), window, self._total.shape) * weight
        self.windows += 1
        self._total += part
        self._count += part > 0

    @property
    def value(self) -> Array:
        """The mean, float64 [*space]; 0 where no window has a map."""
        return np.asarray(self._total / np.maximum(self._count, 1))


def _surest(sure: Array, keep: float) -> set[int]:
    """Return which windows have the highest scores, of those scored."""
    return {int(i) for i in np.argsort(-sure, kind="stable")[: _kept(len(sure), keep)]}


def _kept(count: int, keep: float) -> int:
    return max(1, round(keep * count))


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
            scale, whole = window.scale, resized(x, [round(n * window.scale) for n in x.shape[1:]])
        box = tuple(slice(s, s + n) for s, n in zip(window.start, x.shape[1:], strict=True))
        yield np.ascontiguousarray(whole[(slice(None), *box)], np.float32)


def _placed(part: Array, window: _Window, space: tuple[int, ...]) -> Array:
    """Return the map of a window, from 0 to 1, at the place that it has in the input, [*space]."""
    large = resized(part[None], space)[0]
    low, high = large.min(), large.max()
    large = (large - low) / (high - low) if high > low else np.sign(large)
    whole = np.zeros([round(n * window.scale) for n in space])
    box = tuple(slice(s, s + n) for s, n in zip(window.start, space, strict=True))
    whole[box] = large
    small: Array = resized(whole[None], space)[0]
    return small
