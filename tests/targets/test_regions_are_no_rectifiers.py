"""The mask of a predicted region is the target's: no ReLU of the network to a deconvnet."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxcam import Explainer, targets

_NET = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,1,4,4] image) => (float[1,1,4,4] masks)
<float[1,1,1,1] w = {1.0}, float[1] up = {99.0}, float[1] down = {-99.0}> {
  high = Conv(image, w, up) y = Relu(high) masks = Conv(y, w, down) }"""


@pytest.mark.parametrize("shift", [0.0, -9.0])
@pytest.mark.parametrize("method", ["saliency", "guided-backprop", "deconvnet"])
def test_positions_outside_of_a_region_of_one_class_have_no_share(
    method: str, shift: float
) -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype("f4") + np.float32(shift)
    explainer = Explainer(onnx.parser.parse_model(_NET), method, cache=False)
    found = explainer(x, targets.Region(0))
    np.testing.assert_allclose(found.signed_map, (x > 0)[0, 0], atol=1e-6)
