"""Gradients on straight ways, taken behind the first stretch of a model where that is affine."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from support import nets

from onnxcam import Explainer
from onnxcam.run import sampling
from onnxcam.targets import Margin, Probability
from onnxcam.targets import Score as ClassScore

RNG = np.random.default_rng(3)
SIDE = 150  # 270,000 bytes: a CPU takes the gradients of such inputs one by one


def _normal(*shape: int, scale: float = 1.0) -> Any:
    return (scale * RNG.normal(size=shape)).astype("f4")


def _node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], **attributes)


WEIGHTS = {
    "w": _normal(6, 3, 5, 5, scale=0.2), "b": _normal(6), "same": _normal(3, 3, 1, 1, scale=0.5),
    "mean": _normal(3, 1, 1), "std": np.full((3, 1, 1), 0.7, "f4"),
    "scale": 1 + _normal(6, scale=0.1), "shift": _normal(6), "at": _normal(6),
    "width": np.abs(_normal(6)) + 0.5,
    "v": _normal(6, 4), "v3": _normal(3, 4), "half": np.float32([0.5]), "n": np.int64([0]),
    "flat": np.int64([-1]), "w1": _normal(4, 2, 9, scale=0.3), "v4": _normal(4, 4),
    "w3": _normal(2, 1, 3, 3, 3, scale=0.3), "v2": _normal(2, 4),
    "patched": _normal(75, 8, scale=0.1), "cut": np.int64([0, 3, 30, 5, 30, 5]),
    "tokens": np.int64([0, 900, 75]), "position": _normal(1, 900, 8), "v8": _normal(8, 4),
}  # fmt: skip
NORMED = [
    _node("Sub", "x mean", "centred"), _node("Div", "centred std", "normed"),
    _node("Conv", "normed w b", "c", strides=[2, 2]),
    _node("BatchNormalization", "c scale shift at width", "z"),
]  # fmt: skip
CONV = [_node("Conv", "x w b", "z", strides=[2, 2], pads=[2, 2, 2, 2])]


def _headed(z: str = "z", v: str = "v", act: str = "Tanh") -> list[Any]:
    return [
        _node(act, z, "a"), _node("GlobalAveragePool", "a", "p"), _node("Flatten", "p", "f"),
        _node("MatMul", f"f {v}", "y"),
    ]  # fmt: skip


PICTURE = ["N", 3, SIDE, SIDE]
CASES: dict[str, tuple[list[Any], list[Any], str | None]] = {
    "normalised, convolved, normalised again": ([*NORMED, *_headed()], PICTURE, "z"),
    "channels last": (
        [_node("Cast", "x", "cast", to=1), _node("Transpose", "cast", "t", perm=[0, 3, 1, 2]),
         _node("Conv", "t w b", "z"), *_headed()], ["N", SIDE, SIDE, 3], "z",
    ),
    "used twice, and added up": (
        [_node("Conv", "x same", "c"), _node("Mul", "x half", "h"), _node("Sub", "h c", "z"),
         *_headed(v="v3")], PICTURE, "z",
    ),
    "used once more behind it": (
        [*CONV, *_headed()[:-1], _node("GlobalAveragePool", "x", "px"), _node("Exp", "px", "e"),
         _node("Flatten", "e", "fx"), _node("MatMul", "f v", "y1"), _node("MatMul", "fx v3", "y2"),
         _node("Add", "y1 y2", "y")], PICTURE, None,
    ),
    "whose size is used": (
        [*CONV, _node("Tanh", "z", "a"), _node("GlobalAveragePool", "a", "p"),
         _node("Shape", "x", "s"), _node("Gather", "s n", "batch"),
         _node("Concat", "batch flat", "to", axis=0), _node("Reshape", "p to", "f"),
         _node("MatMul", "f v", "y")], PICTURE, "z",
    ),
    "a skip from the tensor itself": (
        [*CONV, _node("Tanh", "z", "t"), _node("Add", "t z", "r"), *_headed("r", act="Sigmoid")],
        PICTURE, "z",
    ),
    "of time": (
        [_node("Conv", "x w1", "z", strides=[4]), *_headed(v="v4")], ["N", 2, 35_000], "z",
    ),
    "of volumes": (
        [_node("Conv", "x w3", "z", strides=[1, 1, 1]), *_headed(v="v2")], ["N", 1, 42, 42, 42],
        "z",
    ),
    "patches and their places": (
        [_node("Reshape", "x cut", "r"), _node("Transpose", "r", "t", perm=[0, 2, 4, 1, 3, 5]),
         _node("Reshape", "t tokens", "patch"), _node("MatMul", "patch patched", "e"),
         _node("Add", "e position", "z"), _node("Tanh", "z", "a"),
         _node("ReduceMean", "a", "f", axes=[1], keepdims=0), _node("MatMul", "f v8", "y")],
        PICTURE, "z",
    ),
    "no stretch": ([_node("Tanh", "x", "t"), *_headed("t", "v3")], PICTURE, None),
    "nothing saved": (
        [_node("Sub", "x mean", "z"), *_headed("z", "v3")], PICTURE, None,
    ),
    "squared": (
        [_node("Conv", "x same", "c"), _node("Mul", "c c", "z"), *_headed("z", "v3")], PICTURE,
        "c",
    ),
    "all of it": (
        [*CONV, _node("GlobalAveragePool", "z", "p"), _node("Flatten", "p", "f"),
         _node("MatMul", "f v", "y")], PICTURE, "f",
    ),
    "too many channels": ([_node("Conv", "x wide", "z"), *_headed("z", "v64")], PICTURE, None),
    "sizes that are not known": ([*CONV, *_headed()], ["N", 3, "H", "W"], None),
    "a small input": ([*CONV, *_headed()], ["N", 3, 32, 32], None),
    "several at once": ([*CONV, *_headed()], [2, 3, SIDE, SIDE], None),
    "one at once": ([*CONV, *_headed()], [1, 3, SIDE, SIDE], "z"),
}  # fmt: skip


def _model(nodes: list[Any], shape: list[Any]) -> Any:
    used = {name for node in nodes for name in node.input}
    known = {**WEIGHTS, "wide": _normal(64, 3, 3, 3), "v64": _normal(64, 4)}
    given = {name: value for name, value in known.items() if name in used}
    opset = 17 if any(node.op_type == "ReduceMean" for node in nodes) else 20
    return nets.model(nodes, {"x": shape}, {"y": [shape[0], 4]}, given, opset=opset)


def _explainer(proto: Any, name: str = "integrated-gradients", **options: Any) -> Explainer:
    chosen = {"parameters": {"steps": 6}, "upsampling": "none", "device": "cpu", "threads": 1}
    return Explainer(proto, name, **{**chosen, **options})


def _input(shape: list[Any]) -> Any:
    fixed = {"N": 1, "H": SIDE, "W": SIDE}
    return _normal(*(fixed.get(d, d) for d in (1, *shape[1:])))


def _at(explain: Explainer, target: Any = ClassScore()) -> str | None:  # noqa: B008 - frozen
    halves = explain._engine.of(target)[0]._engine.halves
    return None if halves is None else halves.halves.at


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes an explainer by gradients of the whole model."""

    def made(*args: Any, **options: Any) -> Explainer:
        with monkeypatch.context() as patch:
            patch.setattr(sampling, "splits", lambda *_: False)
            explain = _explainer(*args, **options)
            assert _at(explain) is None
        return explain

    return made


def _same(got: Any, want: Any) -> None:
    scale = np.abs(want.signed_map).max()
    assert scale > 0
    np.testing.assert_allclose(got.signed_map, want.signed_map, rtol=1e-5, atol=1e-5 * scale)
    np.testing.assert_allclose(got.relief, want.relief, rtol=1e-5, atol=1e-5 * scale)
    for fact, value in want.parameters.items():
        if isinstance(value, float):
            assert got.parameters[fact] == pytest.approx(value, abs=1e-4)
    assert got.diagnosis == want.diagnosis and got.gradient == want.gradient


@pytest.mark.parametrize("name", CASES)
def test_both_ways_are_the_same(name: str, whole: Any) -> None:
    nodes, shape, at = CASES[name]
    proto, x = _model(nodes, shape), _input(shape)
    explain = _explainer(proto)
    found = explain(x, target=[2, None, 0])
    assert _at(explain) == at
    for got, want in zip(found, whole(proto)(x, target=[2, None, 0]), strict=True):
        assert got.target == want.target
        _same(got, want)


@pytest.mark.parametrize("target", [Margin(1, 2), Probability(3)])
def test_of_other_targets(target: Any, whole: Any) -> None:
    nodes, shape, _ = CASES["normalised, convolved, normalised again"]
    proto, x = _model(nodes, shape), _input(shape)
    explain = _explainer(proto, parameters={"steps": 6, "baseline": 0.5})
    _same(explain(x, target=target), whole(proto, parameters={"steps": 6, "baseline": 0.5})(
        x, target=target))  # fmt: skip


def test_from_two_baselines(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 10 % 5 == np.arange(5)[:, None, None]
    monkeypatch.setattr("onnxcam.methods.gradient.xrai.segments", lambda _: cells)
    nodes, shape, at = CASES["channels last"]
    proto, x = _model(nodes, shape), _input(shape)
    explain = _explainer(proto, "xrai", parameters={"steps": 5})
    found, want = explain(x), whole(proto, "xrai", parameters={"steps": 5})(x)
    assert _at(explain) == at
    np.testing.assert_allclose(found.signed_map, want.signed_map, rtol=1e-4, atol=1e-7)


def test_a_smooth_score_is_shared_out() -> None:
    """What is missed of the score is what rounding leaves, of a baseline that is not 0."""
    nodes, shape, at = CASES["patches and their places"]
    explain = _explainer(_model(nodes, shape), parameters={"steps": 40, "baseline": -0.3})
    found = explain(_input(shape), target=1)
    assert _at(explain) == at
    assert abs(found.parameters["completeness_error"]) < 1e-5
    assert abs(found.signed_map.sum()) > 1e-3


@pytest.mark.parametrize("budget", [1, 4, 6, 7])
def test_a_budget_ends_both_alike(budget: int, whole: Any) -> None:
    nodes, shape, _ = CASES["used twice, and added up"]
    proto, x = _model(nodes, shape), _input(shape)
    told: list[Any] = []
    got = _explainer(proto, budget=budget, progress=lambda *said: told.append(said))(x, target=1)
    seen, told = told, []
    want = whole(proto, budget=budget, progress=lambda *said: told.append(said))(x, target=1)
    _same(got, want)
    assert seen == told and got.parameters.get("stopped") == want.parameters.get("stopped")


def test_a_gradient_of_zero_is_said_to_be(whole: Any) -> None:
    """At the input, whatever it is behind the stretch."""
    proto, x = _model([*CONV, *_headed()], PICTURE), _input(PICTURE)
    (weights,) = (t for t in proto.graph.initializer if t.name == "w")
    weights.CopyFrom(numpy_helper.from_array(np.zeros_like(WEIGHTS["w"]), "w"))
    found, want = _explainer(proto)(x), whole(proto)(x)
    assert "the gradient is zero" in found.diagnosis[0] and not found.map.any()
    assert found.diagnosis == want.diagnosis


def test_memory_does_not_grow_with_the_steps() -> None:
    nodes, shape, _ = CASES["normalised, convolved, normalised again"]
    proto, x = _model(nodes, shape), _input(shape)
    peaks = []
    for steps in (4, 40):
        part = _explainer(proto, parameters={"steps": steps})._engine.of(ClassScore())[0]
        part.estimate(x, [0], {})
        tracemalloc.start()
        part.estimate(x, [0], {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] and peaks[1] < 40 * x.nbytes


def test_integers_stay_whole() -> None:
    """Values between them would be rounded on their way, and not along it."""
    nodes = [_node("Cast", "x", "r", to=1), _node("Conv", "r w b", "z"), *_headed()]
    proto = _model(nodes, PICTURE)
    proto.graph.input[0].type.tensor_type.elem_type = 2  # uint8
    explain = _explainer(proto)
    explain((100 * np.abs(_input(PICTURE))).astype("u1"))
    assert _at(explain) is None
