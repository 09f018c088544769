"""Methods that change what a ReLU does find it however it is written."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from support.curve_texts import CONSTANTS, RECTIFIERS

from onnxcam import Explainer
from onnxcam.errors import UnsupportedOp

_FAR = ("of the negative",)  # no input of the last node is the rectifier's
_NET = """<ir_version: 9, opset_import: ["" : 20]> g (float[1,8,6,6] image) => (float[1,8] score)
<{constants}> {{
  x = Conv(image, w) {rectifier} z = Conv(y, v) p = GlobalAveragePool(z) score = Flatten(p) }}"""


def _model(rectifier: str) -> onnx.ModelProto:
    text = _NET.format(constants=CONSTANTS, rectifier=rectifier)
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(3)
    for name in ("w", "v"):
        values = rng.normal(size=(8, 8, 1, 1)).astype("f4") / 4  # below 6
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return proto


def _map(rectifier: str, method: str) -> np.ndarray:
    x = np.random.default_rng(5).normal(size=(1, 8, 6, 6)).astype("f4")
    return Explainer(_model(rectifier), method, cache=False)(x, 3).signed_map


@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet", "lrp-epsilon"])
@pytest.mark.parametrize("name", RECTIFIERS)
def test_it_is_the_same_map_however_a_relu_is_written(name: str, method: str) -> None:
    if name in _FAR and method == "deconvnet":
        with pytest.raises(UnsupportedOp, match="spelled out"):
            _map(RECTIFIERS[name], method)
        return
    alike = "y = Clip(x, zero, six)" if "6" in name or name in ("Min of Max", "Max of Min") else ""
    want = _map(alike or RECTIFIERS["Relu"], method)
    twice = 2 if name == "with its size" else 1  # x + |x| is 2 ReLU(x)
    np.testing.assert_allclose(_map(RECTIFIERS[name], method), twice * want, rtol=1e-4, atol=1e-6)
