"""Class activation mapping."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import weighted_sum
from onnxcam.methods.needs import Activation, Weights
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "cam",
    needs=(Activation, Weights),
    cite="Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, eq. 2",
    rectify=False,
    signed=True,
    claim=(
        "The exact share of each position in the score, for a linear layer behind "
        "global average pooling."
    ),
    limits=("Only for such a head; as coarse as the layer; what the bias adds is in no position."),
)
def cam(op: Emitter, a: Tensor, w: Tensor, axes: Axes) -> Tensor:
    """M = sum_k w_k A_k, with the classifier's weights w behind global average pooling.

    Signed, as in the paper: what speaks against the class is negative. The bias is left out.
    In a quantised head the weights are the dequantised ones, 0 where the score is at its limit.
    """
    return weighted_sum(op, w, a, axes)
