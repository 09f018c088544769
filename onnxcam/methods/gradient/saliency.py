"""Saliency."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import largest
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "saliency",
    needs=("input_gradient",),
    cite="Simonyan et al., Deep Inside Convolutional Networks, ICLR workshop 2014, section 3.1",
    rectify=False,
)
def saliency(op: Emitter, dx: Tensor, axes: Axes) -> Tensor:
    """M = max_c |dy/dx_c| over the channels of the input."""
    return largest(op, dx, axes)
