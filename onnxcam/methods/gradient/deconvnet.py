"""Deconvolution."""

from __future__ import annotations

from onnxcam.autodiff.overrides import DECONVOLVED
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import largest
from onnxcam.methods.needs import InputGradient
from onnxcam.methods.registry import Axes, Cost, graph_method


@graph_method(
    "deconvnet",
    needs=(InputGradient,),
    cite="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014",
    rectify=False,
    overrides=DECONVOLVED,
    relief=lambda op, r: r,
    style="relief",
    cost=Cost(3),
    claim="Patterns of the input that positive signals lead back to.",
    limits=(
        "No gradient of the score: it hardly depends on the target or on what the ReLUs "
        "let through. Do not judge a model by it."
    ),
)
def deconvnet(op: Emitter, r: Tensor, axes: Axes) -> Tensor:
    """M = max_c |r_c|, r = dy/dx in which every ReLU rectifies the gradient instead.

    What a ReLU let through on the way forward does not matter on the way back. ReLU6 (a Clip
    from 0 on) counts as a ReLU.
    """
    return largest(op, r, axes)
