"""VarGrad."""

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
from onnxcam.methods.moments import Fourth
from onnxcam.methods.needs import Array, Ask, Input, InputGradient, Random, SlopeAt
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method


def _in_graph(
    op: Emitter, x: Tensor, slope_at: rounds.SlopeAt, axes: Axes, *, samples: int, noise: float
) -> Tensor:
    _, squares = slopes_in_graph(op, x, slope_at, axes, samples, noise)
    return largest(op, op.Div(squares, float(samples)), axes)


@sampled_method(
    "vargrad",
    kind="repeated",
    needs=(Input, InputGradient, Random),
    cite="Adebayo et al., Local Explanation Methods for Deep Neural Networks, 2018, "
    "arXiv:1810.03307",
    parameters=(SAMPLES, NOISE),
    cost=Cost(3, "samples"),
    anytime=True,
    claim="Where the gradient changes from one noisy copy of the input to another: what is curved.",
    limits=(
        "Says nothing of how large the gradient is, nor of its sign: a linear model has an empty "
        "map. How much noise is right, nobody knows."
    ),
    form=((Input, SlopeAt), _in_graph),
)
def vargrad(
    x: Array, gradients: Ask, rng: np.random.Generator, *, samples: int, noise: float
) -> Estimate:
    """M = max_c var_i dy/dx_c (x + e_i), e_i ~ N(0, s^2), s = noise (max x - min x).

    The variance is that of the samples (divided by their number, as Captum's). The paper shows it
    as a picture; the map is the largest among the channels, as for `smoothgrad`, and the standard
    error that of the channel which is largest: sqrt((m_4 - var^2) / samples) by the fourth central
    moment m_4. In a converted file the noise is of the file's own: other numbers, the same in every
    run.
    """
    slopes = Fourth()
    for slope in gradients(noisy(x, rng, samples, noise)):
        slopes.add(slope)
    return largest_channel(slopes.variance, slopes.error, slopes.variance)
