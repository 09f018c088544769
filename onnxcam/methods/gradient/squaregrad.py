"""SmoothGrad squared."""

from __future__ import annotations

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import largest
from onnxcam.methods.gradient import rounds
from onnxcam.methods.gradient.smoothgrad import (
    NOISE,
    SAMPLES,
    largest_channel,
    noisy,
    slopes_in_graph,
)
from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Input, InputGradient, Random, SlopeAt
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method


def _in_graph(
    op: Emitter, x: Tensor, slope_at: rounds.SlopeAt, axes: Axes, *, samples: int, noise: float
) -> Tensor:
    mean, squares = slopes_in_graph(op, x, slope_at, axes, samples, noise)
    return largest(op, op.Add(op.Mul(mean, mean), op.Div(squares, float(samples))), axes)


@sampled_method(
    "squaregrad",
    kind="repeated",
    needs=(Input, InputGradient, Random),
    cite="Hooker et al., A Benchmark for Interpretability Methods in Deep Neural Networks, NeurIPS "
    "2019, section 3 (SmoothGrad-Squared)",
    parameters=(SAMPLES, NOISE),
    cost=Cost(3, "samples"),
    anytime=True,
    claim="How much the score changes with each input value around the input, large changes most.",
    limits=(
        "Says nothing of what is there, only of small changes, nor of their sign. The noise leaves "
        "the pictures that the model was trained on; how much of it is right, nobody knows."
    ),
    form=((Input, SlopeAt), _in_graph),
)
def squaregrad(
    x: Array, gradients: Ask, rng: np.random.Generator, *, samples: int, noise: float
) -> Estimate:
    """M = max_c mean_i (dy/dx_c (x + e_i))^2, e_i ~ N(0, s^2), s = noise (max x - min x).

    The square of the mean gradient and its variance together: smoothgrad^2 + vargrad of a channel.
    """
    squares = Moments()
    for slope in gradients(noisy(x, rng, samples, noise)):
        squares.add(np.square(slope, dtype=np.float64))
    return largest_channel(squares.mean, squares.error, squares.mean)
