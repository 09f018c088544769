"""Guided Grad-CAM."""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.overrides import GUIDED
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import largest
from onnxcam.methods.needs import InputGradient, MapOf
from onnxcam.methods.registry import Axes, Cost, graph_method


def _product(op: Emitter, r: Tensor, cam: Tensor) -> Tensor:
    """Return r L, of which half precision holds few digits: gradients are small, both of them."""
    single = np.dtype(np.float32)
    return op.Mul(op.cast(r, single), op.cast(cam, single))


@graph_method(
    "guided-gradcam",
    needs=(InputGradient, MapOf("gradcam")),
    cite="Selvaraju et al., Grad-CAM, ICCV 2017, Guided Grad-CAM",
    rectify=False,
    overrides=GUIDED,
    relief=_product,
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
    return largest(op, _product(op, r, cam), axes)
