"""Grad-CAM++."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import narrow, ratio, space_sum, weighted_sum
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import SMOOTHING, Axes, graph_method


@graph_method(
    "gradcam++",
    needs=(Activation, Gradient),
    parameters=(SMOOTHING,),
    cite="Chattopadhay et al., Grad-CAM++, WACV 2018, equations 5, 7 and 19",
    claim="As Grad-CAM, with weights meant to mark every instance of a class.",
    limits=(
        "Only positive gradients count, so evidence against is never seen; the weights "
        "are a heuristic that holds for an exponential of a piecewise linear score. As "
        "coarse as the layer."
    ),
)
def gradcam_plus_plus(op: Emitter, a: Tensor, g: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k w_k A_k), w_k = sum over positions of alpha relu(g), g = dy/dA_k.

    alpha = Y2 / (2 Y2 + Y3 sum(A_k)), where Y2 and Y3 are the second and third derivative of
    Y = exp(y), the paper's score: Y2 = Y g^2 and Y3 = Y g^3 where y is piecewise linear. So
    alpha = 1 / (2 + g sum(A_k)), and 0 where g or the denominator is 0. Deviation: the weights
    lack the factor exp(y), which is the same for all of them and overflows for a large logit.

    pytorch-grad-cam adds 1e-6 to 2 g^2 + g^3 sum(A_k): for gradients as small as 1e-3, as they
    are behind global average pooling, its alpha is that much too small. Here is the equation.
    """
    g = narrow(op, g, axes)
    below = op.Add(op.Mul(g, space_sum(op, a, axes)), 2)
    weights = space_sum(op, ratio(op, op.Relu(g), below), axes, like=a)
    return weighted_sum(op, weights, a, axes)
