"""Input times gradient."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.needs import Input, InputGradient
from onnxcam.methods.registry import Axes, Cost, graph_method


@graph_method(
    "input-x-gradient",
    needs=(Input, InputGradient),
    cite="Shrikumar et al., Not Just a Black Box, 2016, arXiv:1605.01713",
    rectify=False,
    signed=True,
    relief=lambda op, x, dx: op.Mul(x, dx),
    cost=Cost(3),
    claim=("The share of each input value in the score to first order, against an input of 0."),
    limits=("Noisy; what is 0 after preparation gets nothing, whatever it does; first order only."),
)
def input_x_gradient(op: Emitter, x: Tensor, dx: Tensor, axes: Axes) -> Tensor:
    """M = sum_c x_c dy/dx_c over the channels of the (prepared) input; signed.

    For a network of linear layers and ReLU without biases the map sums up to the score.
    """
    return channel_sum(op, op.Mul(x, dx), axes)
