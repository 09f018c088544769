"""Two inputs that the scores count apart, pictures against texts: each may be explained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, parser
from support.runtime import run

from onnxcam import Explainer, convert

RNG = np.random.default_rng(7)
PICTURES = RNG.standard_normal((3, 2, 4, 4)).astype("f4")
TEXTS = RNG.integers(0, 5, (4, 6))
WORDS = RNG.standard_normal((5, 2)).astype("f4")


def _model(pictures: str = "I", texts: str = "T", order: str = "pt") -> ModelProto:
    """Return a model of pictures against texts, with its inputs in this order."""
    said = {
        "p": f"float[{pictures},2,4,4] pixels",
        "t": f"int64[{texts},6] ids",
    }
    inputs = ", ".join(said[c] for c in order)
    table = ", ".join(str(float(v)) for v in WORDS.ravel())
    return parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 20]>
g ({inputs}) => (float[{pictures},{texts}] each_picture, float[{texts},{pictures}] each_text)
  <int64[2] space = {{2, 3}}, int64[1] time = {{1}}, float[5,2] words = {{{table}}},
   float[2,2,1,1] same = {{1, 0, 0, 1}}> {{
  c = Conv (pixels, same)
  A = Relu (c)
  a = ReduceMean <keepdims = 0> (A, space)
  e = Gather (words, ids)
  B = Relu (e)
  b = ReduceMean <keepdims = 0> (B, time)
  at = Transpose <perm = [1, 0]> (a)
  each_text = MatMul (b, at)
  each_picture = Transpose <perm = [1, 0]> (each_text)
}}""")


def _explainer(model: ModelProto, **options: Any) -> Explainer[Any]:
    return Explainer(model, device="cpu", threads=1, upsampling="none", cache=False, **options)


def _texts() -> tuple[Any, Any]:
    """Return what stands for every word of every text, and the mean of a text: by hand."""
    words = np.maximum(WORDS[TEXTS], 0)
    return words, words.mean(1)


@pytest.mark.parametrize("order", ["pt", "tp"])
@pytest.mark.parametrize("layer", [None, "each_text", "each_picture"])
@pytest.mark.parametrize("count", [1, 3])
def test_texts_are_explained_beside_pictures(order: str, layer: str | None, count: int) -> None:
    explainer = _explainer(_model(order=order), input="ids", reduction_layer=layer)
    found = explainer(TEXTS, target=count - 1, extra_inputs={"pixels": PICTURES[:count]})
    pictures = np.maximum(PICTURES[:count], 0).mean((2, 3))
    words, means = _texts()
    assert len(found) == len(TEXTS)
    for got, word, mean in zip(found, words, means, strict=True):
        np.testing.assert_allclose(got.scores, pictures @ mean, rtol=1e-5)
        want = np.maximum(word @ pictures[count - 1] / word.shape[0], 0)
        np.testing.assert_allclose(got.map, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("order", ["pt", "tp"])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_pictures_are_explained_beside_texts(order: str, count: int) -> None:
    """As many texts as pictures are no pairs: the scores have an axis of each."""
    explainer = _explainer(_model(order=order))
    found = explainer(list(PICTURES[:, None]), target=0, extra_inputs={"ids": TEXTS[:count]})
    _, means = _texts()
    for got, x in zip(found, PICTURES, strict=True):
        np.testing.assert_allclose(got.scores, means[:count] @ np.maximum(x, 0).mean((1, 2)), 1e-5)


def test_as_many_pictures_as_texts_are_no_pairs() -> None:
    explainer = _explainer(_model())
    found = explainer(list(PICTURES[:, None]), target=2, extra_inputs={"ids": TEXTS[:3]})
    assert [len(e.scores) for e in found] == [3, 3, 3]


@pytest.mark.parametrize("name", ["pixels", "ids"])
def test_a_converted_file_counts_what_is_explained(name: str) -> None:
    """Its maps are of as many inputs as there are of the explained one."""
    feeds = {"pixels": PICTURES, "ids": TEXTS}
    values = run(convert(_model(), input=name).proto, feeds)
    explainer = _explainer(_model(), input=name)
    found = explainer(feeds[name], extra_inputs={k: a for k, a in feeds.items() if k != name})
    assert len(values["onnxcam.map"]) == len(feeds[name])
    for got, want in zip(values["onnxcam.class"], found, strict=True):
        assert got == want.target
