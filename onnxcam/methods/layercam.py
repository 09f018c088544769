"""Layer-CAM."""

from __future__ import annotations

from onnxcam.emit import Emitter, Tensor
from onnxcam.methods.registry import Axes, graph_method
from onnxcam.methods.sums import channel_sum


@graph_method(
    "layercam",
    needs=("activation", "gradient"),
    cite="Jiang et al., LayerCAM, IEEE TIP 2021",
)
def layercam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k relu(dy/dA_k) A_k), position by position."""
    return channel_sum(op, op.Mul(op.Relu(da), a), axes)
