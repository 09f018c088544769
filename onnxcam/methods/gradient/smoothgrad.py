"""SmoothGrad."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Input, InputGradient, Random
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Cost, Estimate, sampled_method

SAMPLES = Parameter("samples", int, 50, 2, 1_000_000, "number of noisy copies of the input")
NOISE = Parameter(
    "noise", float, 0.15, 0, 10,
    "standard deviation of the noise, as a part of the input's range (max - min)",
)  # fmt: skip


def noisy(x: Array, rng: np.random.Generator, samples: int, noise: float) -> Iterator[Array]:
    """Yield copies of an input with normal noise: ``noise`` times its range is the deviation."""
    spread = noise * float(x.max() - x.min())
    return (x + spread * rng.standard_normal(x.shape) for _ in range(samples))


@sampled_method(
    "smoothgrad",
    kind="repeated",
    needs=(Input, InputGradient, Random),
    cite="Smilkov et al., SmoothGrad: removing noise by adding noise, 2017, arXiv:1706.03825",
    parameters=(SAMPLES, NOISE),
    cost=Cost(3, "samples"),
    claim="How much the score changes on average with each input value, around the input.",
    limits=(
        "Says nothing of what is there, only of small changes. The noise leaves the pictures that "
        "the model was trained on; how much of it is right, nobody knows."
    ),
)
def smoothgrad(
    x: Array, gradients: Ask, rng: np.random.Generator, *, samples: int, noise: float
) -> Estimate:
    """M = max_c |mean_i dy/dx_c (x + e_i)|, e_i ~ N(0, s^2), s = noise (max x - min x).

    The range is that of the prepared input. The paper shows the mean gradient as a picture; the
    map is its largest absolute value among the channels, as for `saliency`, and the standard
    error that of the channel which is largest.
    """
    slopes = Moments()
    for slope in gradients(noisy(x, rng, samples, noise)):
        slopes.add(slope)
    size = np.abs(slopes.mean)  # [K, C, *space]
    channel = size.argmax(1, keepdims=True)
    error = np.take_along_axis(slopes.error, channel, 1)[:, 0]
    return Estimate(size.max(1), error, relief=slopes.mean)
