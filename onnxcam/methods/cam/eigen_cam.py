"""Eigen-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.principal import projected
from onnxcam.methods.needs import Activation
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, graph_method

CENTRED = Parameter(
    "centred", str, "yes", None, None,
    "choice whether each channel's mean is taken off before the principal direction is sought",
    ("yes", "no"),
)  # fmt: skip


@graph_method(
    "eigen-cam",
    needs=(Activation,),
    parameters=(CENTRED,),
    cite="Muhammad and Yeasin, Eigen-CAM, IJCNN 2020, arXiv:2008.00299",
    claim="Where the layer differs most from its mean: what stands out to the model, of any class.",
    limits=(
        "Knows no class: the map is the same for all of them. What varies most need not be what "
        "the score uses. As coarse as the layer."
    ),
)
def eigen_cam(op: Emitter, a: Tensor, axes: Axes, *, centred: str) -> Tensor:
    """L = relu(X v), X the features less each channel's mean, v their principal direction.

    X has a row for each position and a column for each channel, v is its first right singular
    vector. A vector and its negative are both one: here the one whose map goes with the sum of
    the channels, (X v) (X 1) >= 0, so that active places are positive; for features that are
    as much below 0 as above (tokens behind a layer normalisation), whose sum says nothing, the one
    with sum (X v) |X v| >= 0, so that the smaller part of the positions is. The paper subtracts no
    mean (``centred="no"``); pytorch-grad-cam does, and leaves the sign to its decomposition.
    """
    return projected(op, a, axes, centred=centred == "yes", sign="active")
