"""SmoothGrad."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import largest
from onnxcam.methods.gradient import rounds
from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Input, InputGradient, Random, SlopeAt
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method

SAMPLES = Parameter("samples", int, 50, 2, 1_000_000, "number of noisy copies of the input")
NOISE = Parameter(
    "noise", float, 0.15, 0, 10,
    "standard deviation of the noise, as a part of the input's range (max - min)",
)  # fmt: skip


def noisy(x: Array, rng: np.random.Generator, samples: int, noise: float) -> Iterator[Array]:
    """Yield copies of an input with normal noise: ``noise`` times its range is the deviation."""
    spread = noise * float(x.max() - x.min())
    return (x + spread * rng.standard_normal(x.shape) for _ in range(samples))


def largest_channel(size: Array, error: Array, relief: Array) -> Estimate:
    """Return the map of the largest value among the channels, with that channel's error.

    Args:
        size: Values, none negative, [K, C, *space].
        error: Their standard errors.
        relief: The signed values that they are made of.
    """
    channel = size.argmax(1, keepdims=True)
    return Estimate(size.max(1), np.take_along_axis(error, channel, 1)[:, 0], relief=relief)


def slopes_in_graph(
    op: Emitter, x: Tensor, slope_at: rounds.SlopeAt, axes: Axes, samples: int, noise: float
) -> tuple[Tensor, Tensor]:
    """Return the mean gradient of noisy copies, and the sum of squares about it (Welford 1962).

    The noise is that of :func:`onnxcam.methods.gradient.rounds.normal`, not the caller's seed.
    """
    spread = rounds.deviation(op, x, axes, noise)

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        drawn = body.Mul(rounds.normal(body, x, axes, item[0]), spread)
        slope = slope_at(body, body.typed(body.Add(x, drawn), x))
        away = body.Sub(slope, sums[0])
        mean = body.Add(sums[0], body.Div(away, body.cast(item[0], x)))
        return [mean, body.Add(sums[1], body.Mul(away, body.Sub(slope, mean)))]

    mean, squares = rounds.rounds(op, x, [np.arange(1, samples + 1)], 2, one)
    return mean, squares


def _in_graph(
    op: Emitter, x: Tensor, slope_at: rounds.SlopeAt, axes: Axes, *, samples: int, noise: float
) -> Tensor:
    return largest(op, slopes_in_graph(op, x, slope_at, axes, samples, noise)[0], axes)


@sampled_method(
    "smoothgrad",
    kind="repeated",
    needs=(Input, InputGradient, Random),
    cite="Smilkov et al., SmoothGrad: removing noise by adding noise, 2017, arXiv:1706.03825",
    parameters=(SAMPLES, NOISE),
    cost=Cost(3, "samples"),
    anytime=True,
    claim="How much the score changes on average with each input value, around the input.",
    limits=(
        "Says nothing of what is there, only of small changes. The noise leaves the pictures that "
        "the model was trained on; how much of it is right, nobody knows."
    ),
    form=((Input, SlopeAt), _in_graph),
)
def smoothgrad(
    x: Array, gradients: Ask, rng: np.random.Generator, *, samples: int, noise: float
) -> Estimate:
    """M = max_c |mean_i dy/dx_c (x + e_i)|, e_i ~ N(0, s^2), s = noise (max x - min x).

    The range is that of the prepared input. The paper shows the mean gradient as a picture; the
    map is its largest absolute value among the channels, as for `saliency`, and the standard
    error that of the channel which is largest. In a converted file the noise is of the file's
    own: other numbers, the same in every run.
    """
    slopes = Moments()
    for slope in gradients(noisy(x, rng, samples, noise)):
        slopes.add(slope)
    return largest_channel(np.abs(slopes.mean), slopes.error, slopes.mean)
