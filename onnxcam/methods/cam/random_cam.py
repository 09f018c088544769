"""Random CAM: a baseline."""

from __future__ import annotations

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import weighted_sum
from onnxcam.methods.needs import Activation
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import SMOOTHING, Axes, graph_method

DRAW = Parameter("draw", int, 0, 0, 2**31 - 1, "seed of the weights")


@graph_method(
    "random-cam",
    needs=(Activation,),
    parameters=(DRAW, SMOOTHING),
    cite="RandomCAM of pytorch-grad-cam, Gildenblat and contributors, 2021",
    claim="Nothing: a baseline that a method has to beat.",
    limits="Knows no class and no score. Looks like an explanation, and is none.",
)
def random_cam(op: Emitter, a: Tensor, axes: Axes, *, draw: int) -> Tensor:
    """L = relu(sum_k w_k A_k), w_k drawn once between -1 and 1.

    The weights are NumPy's ``default_rng(draw).uniform(-1, 1, channels)`` and the same for all
    inputs; pytorch-grad-cam draws others for each.
    """
    channels = op.dim(a, axes.channel)
    if not isinstance(channels, int):
        raise UsageError(
            "how many channels the layer has is not known, and random weights cannot be drawn",
            "choose another `feature_layer`",
        )
    weights = np.random.default_rng(draw).uniform(-1, 1, channels)
    shape = [channels if i == axes.channel else 1 for i in range(len(axes.space) + 2)]
    return weighted_sum(op, op.cast(op.const(weights.astype("f4").reshape(shape)), a), a, axes)
