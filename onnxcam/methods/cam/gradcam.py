"""Grad-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import space_mean, weighted_sum
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import SMOOTHING, Axes, graph_method


@graph_method(
    "gradcam",
    needs=(Activation, Gradient),
    parameters=(SMOOTHING,),
    averages=True,
    cite="Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2",
    claim="Where channels are active that raise the score on average over the positions.",
    limits=(
        "The averaged gradient forgets where a channel matters: it can mark places that "
        "the score does not use. Of a transformer's tokens, whose gradients cancel, it keeps "
        "little: libragrad, attnlrp and gradcam-elementwise see more. As coarse as the layer."
    ),
)
def gradcam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k alpha_k A_k), alpha_k = mean over positions of dy/dA_k.

    The paper's Z is the number of positions; MATLAB and pytorch-grad-cam take the same mean.
    """
    alpha = space_mean(op, da, axes)
    return weighted_sum(op, alpha, a, axes)
