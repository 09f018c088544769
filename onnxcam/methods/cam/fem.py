"""FEM, the feature-based explanation method."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import space_mean, weighted_sum
from onnxcam.methods.needs import Activation
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, graph_method

SIGMAS = Parameter(
    "sigmas", float, 2.0, 0, 100, "standard deviations above its mean from which a channel is rare"
)
FORM = Parameter(
    "form", str, "paper", None, None,
    "version: the paper's masks weighted by means, or the peer pytorch-grad-cam's features "
    "weighted by the part of them that is rare",
    ("paper", "peer"),
)  # fmt: skip


@graph_method(
    "fem",
    needs=(Activation,),
    parameters=(SIGMAS, FORM),
    cite="Fuad et al., Features Understanding in 3D CNNs for Actions Recognition, IPTA 2020",
    claim="Where many strong channels are rarely strong: what stands out, of any class.",
    limits=(
        "Knows no class: the map is the same for all of them. The threshold is a convention. As "
        "coarse as the layer."
    ),
)
def fem(op: Emitter, a: Tensor, axes: Axes, *, sigmas: float, form: str) -> Tensor:
    """L = sum_k |m_k| [A_k > m_k + 2 s_k], m_k the mean of A_k over positions, s_k its deviation.

    The paper has m_k, of features behind ReLU, whose means are 0 or more. Of others (tokens) a
    mean below 0 would show what is rare as its opposite: how far it is from 0 is what counts.
    pytorch-grad-cam's version (``form="peer"``) is another one: the features themselves, weighted
    by the part of the positions above the threshold, sum_k mean[A_k > m_k + 2 s_k] A_k.
    """
    mean = space_mean(op, a, axes)
    away = op.Sub(a, mean)
    spread = op.Sqrt(space_mean(op, op.Mul(away, away), axes))
    rare = op.cast(op.Greater(a, op.Add(mean, op.Mul(spread, float(sigmas)))), a)
    if form == "peer":
        return weighted_sum(op, space_mean(op, rare, axes), a, axes)
    return weighted_sum(op, op.Abs(mean), rare, axes)
