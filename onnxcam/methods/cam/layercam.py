"""Layer-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import narrow, weighted_sum
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import SMOOTHING, Axes, graph_method


@graph_method(
    "layercam",
    needs=(Activation, Gradient),
    parameters=(SMOOTHING,),
    cite="Jiang et al., LayerCAM, IEEE TIP 2021",
    claim=(
        "Where features are active and raising them would raise the score; sharp also "
        "in early layers."
    ),
    limits=(
        "Only positive gradients count, so evidence against is never seen; magnitudes "
        "add up to nothing."
    ),
)
def layercam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k relu(dy/dA_k) A_k), position by position."""
    return weighted_sum(op, op.Relu(narrow(op, da, axes)), a, axes)
