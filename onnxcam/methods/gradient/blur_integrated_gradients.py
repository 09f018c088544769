"""Integrated gradients along a path of less and less blur."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.methods.gradient.integrated_gradients import GOLDEN, doubt
from onnxcam.methods.needs import Array, Ask, Input, InputGradient, OwnScore, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "blur-integrated-gradients",
    kind="repeated",
    needs=(Input, InputGradient, OwnScore, Score),
    cite="Xu, Venugopalan and Sundararajan, Attribution in Scale and Space, CVPR 2020, equation 6",
    parameters=(
        Parameter("steps", int, 50, 1, 10_000, "number of steps of the path"),
        Parameter("blur", float, 0.25, 0.001, 10,
                  "standard deviation of the Gaussian at the start, as a part of each extent"),
    ),
    cost=Cost(3, "steps"),
    anytime=True,
    signed=True,
    claim=(
        "The share of each input value in the difference between the score and that of the blurred "
        "input; no value of the input stands for nothing."
    ),
    limits=(
        "What is still there in the blurred input gets nothing. Only for inputs that can be "
        "blurred: pictures, signals, volumes. Noisy."
    ),
)  # fmt: skip
def blur_integrated_gradients(
    x: Array, gradients: Ask, own: Array, scores: Ask, *, steps: int, blur: float
) -> Estimate:
    """M = sum_c integral of dy/dx_c (x * G_s) d(x * G_s)_c, s from blur times the extents to 0.

    G_s is a Gaussian, cut off at four deviations, with borders repeated. The integral is the sum
    over steps of the difference of their ends times the gradient at their middle (in s); the
    authors' code takes the gradient at a step's end, and one deviation for all axes, in pixels.

    Raises:
        UsageError: The input has no space to blur over.
    """
    from scipy import ndimage

    if x.ndim < 2 or max(x.shape[1:]) < 3:
        raise UsageError("the input has no space to blur", "use `method='integrated-gradients'`")

    def at(share: float) -> Array:
        widths = [0.0, *(blur * share * n for n in x.shape[1:])]
        return np.asarray(ndimage.gaussian_filter(x.astype(np.float64), widths, mode="nearest"))

    order = np.argsort(np.arange(steps) * GOLDEN % 1)
    ways: list[Array] = []

    def path() -> Iterator[Array]:
        for i in order:
            ways.append(at(i / steps) - at((i + 1) / steps))
            yield at((i + 0.5) / steps).astype(np.float32)

    total, taken = np.zeros(()), 0
    for slope in gradients(path()):
        total, taken = total + ways.pop(0) * slope, taken + 1
    relief = total * (steps / taken)
    signed = relief.sum(1)
    blurred = list(scores([at(1).astype(np.float32)]))
    if not blurred or taken < steps:  # ended early
        return Estimate(signed, relief=relief)
    rise = own.astype(np.float64) - blurred[0]
    missed = signed.reshape(len(signed), -1).sum(1) - rise
    doubts = tuple(map(doubt, missed, rise))
    return Estimate(signed, facts={"completeness_error": missed}, doubts=doubts, relief=relief)
