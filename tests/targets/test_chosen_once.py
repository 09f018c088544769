"""What a target chooses is chosen by the explained input, whatever a method runs beside it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from onnxcam import Explainer, methods, targets

_SEG = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,2,6,6] image) => (float[N,C,6,6] masks)
<float[4,2,3,3] v, float[C,4,1,1] w> {
  z = Conv<pads = [1,1,1,1]>(image, v) a = Relu(z) masks = Conv(a, w) }"""
_POOLED = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,2,6,6] image) => (float[N,C] y)
<float[4,2,3,3] v, float[4,C] w> {
  z = Conv<pads = [1,1,1,1]>(image, v) a = Relu(z) p = ReduceMax<axes = [2,3], keepdims = 0>(a)
  s = MatMul(p, w) y = FINAL(s) }"""
_X = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype("f4")
# How often a method runs the model where it says so.
_FEW = {
    "masks": 10, "samples": 4, "steps": 4, "evaluations": 10, "designs": 4, "cells": 3,
    "regions": 4, "window": 0.3, "stride": 0.2, "concepts": 2, "orders": 2, "score": "score",
}  # fmt: skip
_AGAIN = [  # but what compares boxes, or wants a background
    name for name in methods.names() if name not in ("d-rise", "feature-permutation")
    if methods.find(name).kind != "graph" or {"steps", "samples"} & {
        p.name for p in methods.find(name).parameters
    }
]  # fmt: skip

_SOME = ["rise", "occlusion", "integrated-gradients", "smoothgrad", "score-cam", "kernel-shap"]


@cache
def _model(text: str, classes: int) -> onnx.ModelProto:
    """Return a network whose largest position differs from run to run."""
    proto = onnx.parser.parse_model(text.replace("C,", f"{classes},").replace(",C", f",{classes}"))
    rng = np.random.default_rng(classes)
    shape = (classes, 4, 1, 1) if text is _SEG else (4, classes)
    for name, size in (("v", (4, 2, 3, 3)), ("w", shape)):
        values = rng.normal(size=size).astype("f4")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    kept = [i for i in proto.graph.input if i.name not in "vw"]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    return proto


@cache
def _scores(text: str, classes: int) -> np.ndarray:
    return np.asarray(ReferenceEvaluator(_model(text, classes)).run(None, {"image": _X})[0])[0]


def _same(method: str, proto: onnx.ModelProto, chosen: Any, fixed: Any) -> None:
    """Check that a target has the map of another one, which names what the first finds."""
    settings = {p.name: _FEW[p.name] for p in methods.find(method).parameters if p.name in _FEW}
    explainer: Any = Explainer(proto, method, parameters=settings, cache=False, threads=1)
    want = explainer(_X, fixed)
    found = explainer(_X, chosen)
    np.testing.assert_allclose(found.signed_map, want.signed_map, rtol=1e-4, atol=1e-6)
    assert found.value == pytest.approx(want.value, rel=1e-5)


@pytest.mark.parametrize(
    ("classes", "method"), [*((3, name) for name in _AGAIN), *((1, name) for name in _SOME)]
)
def test_predicted_pixels_are_those_of_the_explained_input(method: str, classes: int) -> None:
    scores = _scores(_SEG, classes)
    cls = 0 if classes == 1 else int(np.bincount(scores.argmax(0).ravel()).argmax())
    mask = scores[0] > 0 if classes == 1 else scores.argmax(0) == cls
    assert 0 < mask.sum() < mask.size
    proto = _model(_SEG, classes)
    _same(method, proto, targets.Region(cls), targets.Region(cls, mask))


def _place(of: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(of.argmax(), of.shape)))


@pytest.mark.parametrize("method", _SOME)
@pytest.mark.parametrize("name", ["peak", "detection", "box"])
def test_a_place_stays_where_it_was_found(method: str, name: str) -> None:
    scores, row = _scores(_SEG, 3), 8
    classes = scores.reshape(3, -1)
    chosen, place, cls = {
        "peak": (targets.Keypoint(1), _place(scores[1]), 1),
        "detection": (targets.Detection(2), _place(scores[2]), 2),
        "box": (targets.Box(row), (row // 6, row % 6), int(classes[:, row].argmax())),
    }[name]
    _same(method, _model(_SEG, 3), chosen, targets.At(place, cls))


@pytest.mark.parametrize("method", _SOME)
@pytest.mark.parametrize("name", ["runner-up", "similar", "answer"])
def test_other_classes_are_chosen_once(method: str, name: str) -> None:
    text = _POOLED.replace("FINAL", "Sigmoid" if name == "answer" else "Softmax")
    proto = _model(text, 4)
    score = _scores(text, 4)
    near = np.argsort(np.abs(np.log(score) - np.log(score[1])))[1]
    other = int(np.argsort(score)[-1 if score.argmax() != 1 else -2])
    low = int(score.argmin())
    chosen, fixed = {
        "runner-up": (targets.Margin(1), targets.Margin(1, other)),
        "similar": (targets.Finer(1, 1), targets.Margin(1, int(near))),
        "answer": (targets.Binary(low), targets.Binary(low, positive=bool(score[low] > 0.5))),
    }[name]
    _same(method, proto, chosen, fixed)
