"""Guided backpropagation."""

from __future__ import annotations

from onnxcam.autodiff.overrides import GUIDED
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import largest
from onnxcam.methods.needs import InputGradient
from onnxcam.methods.registry import Axes, Cost, graph_method


@graph_method(
    "guided-backprop",
    needs=(InputGradient,),
    cite="Springenberg et al., Striving for Simplicity, ICLR workshop 2015",
    rectify=False,
    overrides=GUIDED,
    relief=lambda op, r: r,
    style="relief",
    cost=Cost(3),
    claim="Sharp edges that feed the units that the score uses.",
    limits=(
        "Shows the picture's edges more than the class: it hardly changes when the "
        "target or the weights do (Adebayo et al. 2018). Do not judge a model by it."
    ),
)
def guided_backprop(op: Emitter, r: Tensor, axes: Axes) -> Tensor:
    """M = max_c |r_c|, r = dy/dx in which every ReLU lets only positive gradients through.

    ReLU6 (a Clip from 0 on) counts as a ReLU. The paper shows r as a picture; the map is its
    largest absolute value among the channels. Captum and pytorch-grad-cam change only modules
    of the class ReLU; here it is every ReLU of the graph.
    """
    return largest(op, r, axes)
