"""FullGrad."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum, stretched
from onnxcam.methods.needs import BiasShares, Input, InputGradient
from onnxcam.methods.registry import Axes, Cost, graph_method


@graph_method(
    "fullgrad",
    needs=(Input, InputGradient, BiasShares),
    cite="Srinivas and Fleuret, Full-Gradient Representation, NeurIPS 2019, equation 8",
    rectify=False,
    style="overlay",  # smooth, and of regions
    cost=Cost(3),
    claim=(
        "Where the input and the biases of all convolutions take part in the score: input times "
        "gradient alone leaves out the biases, which hold what is not linear."
    ),
    limits=(
        "Knows no sign: evidence for and against count alike. Every channel is stretched to 0 to "
        "1 before the sum, so a weak one counts as much as a strong one."
    ),
)
def fullgrad(op: Emitter, x: Tensor, dx: Tensor, shares: Tensor, axes: Axes) -> Tensor:
    """M = sum_c f(x_c dy/dx_c) + sum_l sum_c f(b_lc dy/dz_lc), f(v) = |v| from 0 to 1, enlarged.

    b_l is the bias of convolution l, or that of its BatchNormalization (beta - mean gamma /
    deviation), z_l its output; maps are enlarged linearly, after they are stretched between their
    smallest and largest value. Biases without space (of a linear layer) and of other operators
    are left out, as in the paper's own code and in pytorch-grad-cam; the former stretches all
    channels of a layer together, the latter, as here and in the paper, one by one (and adds 1e-7
    to the largest value).
    """
    return op.Add(channel_sum(op, stretched(op, op.Mul(x, dx), axes), axes), shares)
