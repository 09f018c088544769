"""KPCA-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.principal import kernel_projected
from onnxcam.methods.needs import Activation
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "kpca-cam",
    needs=(Activation,),
    cite="Karmani et al., KPCA-CAM, MMSP 2024, arXiv:2410.00267",
    claim="As Eigen-CAM, by a kernel that can follow what no one direction of the channels holds.",
    limits=(
        "Knows no class: the map is the same for all of them. Compares every position with every "
        "other, so that a layer of more than a few thousand positions is slow. As coarse as the "
        "layer."
    ),
)
def kpca_cam(op: Emitter, a: Tensor, axes: Axes) -> Tensor:
    """L = relu(sqrt(s) u), (s, u) the first eigenpair of tanh(X X^T / C + 1), centred.

    X are the features less each channel's mean, a row for each position and a column for each of C
    channels: pytorch-grad-cam's kernel and scale. The sign of u is Eigen-CAM's. The kernel is not
    positive definite: s is its largest eigenvalue, not the one of the largest size.
    """
    return kernel_projected(op, a, axes)
