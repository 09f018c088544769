"""Saliency."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import largest
from onnxcam.methods.needs import InputGradient
from onnxcam.methods.registry import Axes, Cost, graph_method


@graph_method(
    "saliency",
    needs=(InputGradient,),
    cite="Simonyan et al., Deep Inside Convolutional Networks, ICLR workshop 2014, section 3.1",
    rectify=False,
    relief=lambda op, dx: dx,
    cost=Cost(3),
    claim="How much the score would change with each input value: its local sensitivity.",
    limits=(
        "Noisy; says nothing of what is there, only of small changes; 0 where the score "
        "is saturated."
    ),
)
def saliency(op: Emitter, dx: Tensor, axes: Axes) -> Tensor:
    """M = max_c |dy/dx_c| over the channels of the input."""
    return largest(op, dx, axes)
