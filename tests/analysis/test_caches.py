"""A decoder that takes keys and values of a text's beginning: its words are explained."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxcam import Explainer
from onnxcam.analysis.layers import catalog
from onnxcam.model.model import load
from onnxcam.targets import At

RNG = np.random.default_rng(4)
WEIGHTS = {n: RNG.normal(size=s).astype("f4") for n, s in (("e", (9, 4)), ("w", (4, 9)))}
IDS, PAST = np.array([[3, 1, 4]]), RNG.normal(size=(1, 5, 4)).astype("f4")


def _decoder(order: str, end: str = "") -> onnx.ModelProto:
    """Return a decoder whose inputs are the cache (c) and ids (i), in this order."""
    said = {"c": "float[B,P,4] past", "i": "int64[B,S] ids"}
    inputs = ", ".join(said[letter] for letter in order)
    name = "grown" if end else "present"
    proto = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
g ({inputs}) => (float[B,S,9] logits, float[B,T,4] present) {{
  h = Gather(e, ids) {name} = Concat<axis = 1>(past, h) {end}
  t = Transpose<perm = [0, 2, 1]>({name}) a = MatMul(h, t) p = Softmax<axis = -1>(a)
  m = MatMul(p, {name}) logits = MatMul(m, w)
}}""")
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in WEIGHTS.items())
    return proto


@pytest.mark.parametrize("end", ["", "present = Identity(grown)"])
@pytest.mark.parametrize("order", ["ci", "ic"])
def test_the_words_are_explained_and_not_the_cache(order: str, end: str) -> None:
    proto = _decoder(order, end)
    assert catalog(load(proto)).input == "ids"
    explain: Any = Explainer(proto, feature_layer="h", upsampling="none", cache=False, threads=1)
    found = explain(IDS, At(-1), extra_inputs={"past": PAST})
    h = WEIGHTS["e"][IDS[0]]
    whole = np.concatenate([PAST[0], h])
    weights = np.exp(h @ whole.T - (h @ whole.T).max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    scores = weights @ whole @ WEIGHTS["w"]
    assert found.target == scores[-1].argmax()
    assert found.score == pytest.approx(scores[-1].max(), rel=1e-4)
    assert found.raw_map.shape == (3,)


def test_a_cache_is_explained_where_it_is_named() -> None:
    assert Explainer(_decoder("ci"), "saliency", input="past", cache=False).catalog.input == "past"


def test_a_picture_that_comes_back_with_more_channels_is_no_cache() -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,6,6] x, float[N,3] m) => (float[N,3] y, float[N,6,6,6] both) {
  r = Relu(x) both = Concat<axis = 1>(x, r) p = GlobalAveragePool(r) q = Flatten(p) y = Mul(q, m)
}""")
    assert catalog(load(proto)).input == "x"
