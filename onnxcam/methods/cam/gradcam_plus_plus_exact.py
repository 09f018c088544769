"""Grad-CAM++ with the derivatives as they are."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import ratio, space_sum, weighted_sum
from onnxcam.methods.needs import Activation, Diagonals, Gradient
from onnxcam.methods.registry import SMOOTHING, Axes, Cost, graph_method


@graph_method(
    "gradcam++-exact",
    needs=(Activation, Gradient, Diagonals),
    parameters=(SMOOTHING,),
    cite="Chattopadhay et al., Grad-CAM++, WACV 2018, equations 5 and 10",
    cost=Cost(1, "values or channels"),
    claim=(
        "As Grad-CAM++, with the second and third derivatives of a score that is not piecewise "
        "linear: behind gates such as SiLU, GELU and softmax."
    ),
    limits=(
        "Of a head that is linear piece by piece, as behind ReLU, it is Grad-CAM++. Only positive "
        "gradients count. A second derivative for each channel, or for each value where the head "
        "does not average over positions: slow, and refused for large layers. As coarse as the "
        "layer."
    ),
)
def gradcam_plus_plus_exact(
    op: Emitter, a: Tensor, g: Tensor, bent: tuple[Tensor, Tensor], axes: Axes
) -> Tensor:
    """L = relu(sum_k w_k A_k), w_k = sum over positions of alpha relu(g), g = dy/dA_k.

    alpha = Y2 / (2 Y2 + Y3 sum(A_k)) with the derivatives of Y = exp(y) at each position by
    itself: Y2 = Y (g^2 + h) and Y3 = Y (g^3 + 3 g h + t), h and t the second and third derivative
    of y, which Grad-CAM++ leaves out. alpha is 0 where its denominator is, and the factor Y is
    left out, as there.
    """
    h, t = (op.cast(each, g) for each in bent)
    square = op.Mul(g, g)
    second = op.Add(square, h)
    third = op.Add(op.Mul(g, op.Add(square, op.Mul(h, 3))), t)
    below = op.Add(op.Mul(second, 2), op.Mul(third, op.cast(space_sum(op, a, axes), g)))
    weights = space_sum(op, op.Mul(ratio(op, second, below), op.Relu(g)), axes)
    return weighted_sum(op, op.cast(weights, a), a, axes)
