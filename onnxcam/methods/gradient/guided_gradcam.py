"""Guided Grad-CAM."""

from __future__ import annotations

from onnxcam.autodiff.overrides import GUIDED
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import largest
from onnxcam.methods.needs import InputGradient, MapOf
from onnxcam.methods.registry import Axes, Cost, graph_method


@graph_method(
    "guided-gradcam",
    needs=(InputGradient, MapOf("gradcam")),
    cite="Selvaraju et al., Grad-CAM, ICCV 2017, Guided Grad-CAM",
    rectify=False,
    overrides=GUIDED,
    relief=lambda op, r, cam: op.Mul(r, cam),
    style="relief",
    cost=Cost(3),
    claim="Sharp edges inside of what Grad-CAM marks.",
    limits=(
        "The place is Grad-CAM's; the detail is guided backpropagation's, which hardly "
        "depends on the class."
    ),
)
def guided_gradcam(op: Emitter, r: Tensor, cam: Tensor, axes: Axes) -> Tensor:
    """M = max_c |r_c L|, r by guided backpropagation and L Grad-CAM, interpolated linearly.

    The paper shows r L as a picture; the map is its largest absolute value among the channels.
    """
    return largest(op, op.Mul(r, cam), axes)
