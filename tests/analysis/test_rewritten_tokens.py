"""The default layer behind a class token is the same one, whoever has rewritten the file."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper, parser

from onnxcam.analysis.layers import catalog
from onnxcam.model.model import load

TAIL = {
    "plain": "h = MatMul (n2, w1) hb = Add (h, b) a = Gelu (hb)",
    "fused": "h = MatMul (n2, w1) a = com.microsoft.BiasGelu (h, b)",
    "integers": """q, s, z = DynamicQuantizeLinear (n2) i = MatMulInteger (q, wi, z)
                   f = Cast <to = 1> (i) h = Mul (f, s) hb = Add (h, b) a = Gelu (hb)""",
    "sum and norm": """nn, , , y2 = com.microsoft.SkipLayerNormalization (n2, n2, g, b)
                       h = com.microsoft.FusedMatMul (nn, w1) a = com.microsoft.BiasGelu (h, b)""",
}
INTEGERS = """q0, s0, z0 = DynamicQuantizeLinear (n) i0 = MatMulInteger (q0, wi, z0)
              f0 = Cast <to = 1> (i0) v = Mul (s0, f0)"""


def _model(tail: str, product: str) -> ModelProto:
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 20, "com.microsoft": 1]>
      g (float[1,3,8,12] x) => (float[1,4] y)
      <float[6,3,4,4] w, float[1,1,6] cls, float[6] g, float[6,6] w1, float[6] b, uint8[6,6] wi,
       float[6,4] w2, int64[3] cells = {{1, 6, 6}}, int64 zero = {{0}}> {{
      c = Conv <strides = [4, 4]> (x, w) r = Reshape (c, cells) p = Transpose <perm = [0, 2, 1]> (r)
      t = Concat <axis = 1> (cls, p) n = LayerNormalization (t, g) {product}
      k = Transpose <perm = [0, 2, 1]> (v) l = MatMul (v, k) e = Softmax (l) o = MatMul (e, v)
      u = Add (t, o) n2 = LayerNormalization (u, g) {tail} m = Add (u, a)
      first = Gather <axis = 1> (m, zero) y = MatMul (first, w2) }}""")
    rng = np.random.default_rng(0)
    known = {t.name for t in model.graph.initializer}
    for value in list(model.graph.value_info):
        if value.name not in known:
            shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
            integers = value.type.tensor_type.elem_type == 2
            data = rng.integers(0, 255, shape) if integers else rng.normal(size=shape)
            tensor = data.astype(np.uint8 if integers else np.float32)
            model.graph.initializer.append(numpy_helper.from_array(tensor, value.name))
    del model.graph.value_info[:]
    return model


@pytest.mark.parametrize("tail", TAIL)
@pytest.mark.parametrize("product", ["v = MatMul (n, w1)", INTEGERS], ids=["float", "integers"])
def test_the_layer_behind_a_class_token(tail: str, product: str) -> None:
    """Behind the attention only the class token reaches the score; before it stands a norm."""
    found = catalog(load(_model(TAIL[tail], product)))
    assert found.feature is not None
    assert found.feature.name == "n", found.feature_reason
    late = {c.name: c for c in found.candidates}["h"]
    assert not late.usable and "class token" in late.reason
