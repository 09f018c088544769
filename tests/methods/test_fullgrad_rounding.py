"""A channel that only rounding moves has no share in FullGrad, and no noise from 0 to 1."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxcam import Explainer

_NET = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,1,6,6] image) => (float[1,2] score) <float[2] b = {{{bias}, {bias}}}> {{
  z = Conv<pads = [1, 1, 1, 1]>(image, w, b) y = Mul(z, v)
  score = ReduceSum<keepdims = 0>(y, axes) }}"""


def _map(bias: float, spread: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    proto = onnx.parser.parse_model(_NET.format(bias=bias))
    near = 0.1 * (1 + spread * rng.uniform(-1, 1, (1, 2, 6, 6)))
    values = {"w": rng.normal(size=(2, 1, 3, 3)).astype("f4"), "v": near.astype("f4")}
    values["axes"] = np.array([2, 3])
    for name, array in values.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    x = rng.normal(size=(1, 1, 6, 6)).astype("f4")
    return Explainer(proto, "fullgrad", cache=False)(x, 1).signed_map


@pytest.mark.parametrize(("spread", "counts"), [(1e-7, False), (0.1, True)])
def test_a_share_of_a_bias_counts_where_more_than_rounding_moves_it(
    spread: float, counts: bool
) -> None:
    assert np.allclose(_map(0.5, spread), _map(0.0, spread), atol=1e-5) != counts
