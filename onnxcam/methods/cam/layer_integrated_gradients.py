"""Integrated gradients from a feature layer on."""

from __future__ import annotations

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor, dtype_of
from onnxcam.methods.cam.layer_deeplift import OfValue
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient import rounds
from onnxcam.methods.needs import Activation, LayerOf, SlopeAtLayer
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, graph_method


@graph_method(
    "layer-integrated-gradients",
    needs=(Activation, SlopeAtLayer, LayerOf),
    parameters=(
        Parameter("steps", int, 50, 1, 10_000, "number of layers between the baseline and A"),
        Parameter(
            "baseline", float, 0.0, -1e6, 1e6,
            "value of every number of the layer that stands for nothing, or of the input",
        ),
        Parameter(
            "origin", str, "layer", None, None,
            "whose value the baseline is: the layer's, or the input's, of which the layer is made",
            ("layer", "input"),
        ),
    ),
    cite="Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, section 6.3; "
    "LayerIntegratedGradients of Captum",
    rectify=False,
    signed=True,
    cost=Cost(3, "steps of what lies behind the layer"),
    claim=(
        "The share of each position of the layer in the difference between the score and that of "
        "a layer of the baseline; the map sums up to it. At an embedding: of each token."
    ),
    limits=(
        "Everything is against the baseline, which the layer may never be. What reaches the score "
        "without passing the layer has no share. As coarse as the layer."
    ),
)  # fmt: skip
def layer_integrated_gradients(
    op: Emitter, a: Tensor, slope_at: rounds.SlopeAt, layer_of: OfValue, axes: Axes, *,
    steps: int, baseline: float, origin: str,
) -> Tensor:  # fmt: skip
    """M = sum_k (A_k - b_k) integral_0^1 dy/dA_k (b + t (A - b)) dt; signed.

    Only what lies behind the layer is run again, one step after another in a Scan; the integral is
    by Gauss-Legendre quadrature. b is the baseline everywhere, or with ``origin="input"`` the layer
    of an input that is the baseline everywhere, as in Captum.
    """
    places, weights = np.polynomial.legendre.leggauss(steps)
    kind = dtype_of(a) or np.dtype(np.float32)
    items = [((places + 1) / 2).astype(kind), (weights / 2).astype(kind)]
    start = baseline if origin == "layer" else layer_of(op, baseline)
    way = op.Sub(a, start)

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        at = body.Add(body.Mul(way, item[0]), start)
        return [body.Add(sums[0], body.Mul(slope_at(body, body.typed(at, a)), item[1]))]

    (total,) = rounds.rounds(op, a, items, 1, one)
    return channel_sum(op, op.Mul(way, total), axes)
