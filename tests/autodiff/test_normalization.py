"""Normalisations: at every input, with symbolic shapes, and against torch."""

from __future__ import annotations

from typing import Any

import nets
import numpy as np
import onnx
import onnx.shape_inference
import pytest
import torch
from gradcheck import check_gradient
from onnx import helper
from torch.nn import functional as F  # noqa: N812
from variants import node_model

from onnxcam.autodiff import vjp_model
from onnxcam.model import Model
from onnxcam.session import Session
from onnxcam.weights import Weights

RNG = np.random.default_rng(0)


def _normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def _positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2, size=shape).astype("f4")


def _statistics(channels: int) -> dict[str, np.ndarray]:
    names = {"scale": _normal, "bias": _normal, "mean": _normal, "var": _positive}
    return {name: make(channels) for name, make in names.items()}


@pytest.mark.parametrize("space", [(), (5,), (3, 4), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("symbolic", [False, True])
def test_batch_normalization(space: tuple[int, ...], symbolic: bool) -> None:
    feeds = {"x": _normal(3, 4, *space), **_statistics(4)}
    model = node_model("BatchNormalization", feeds, epsilon=1e-2)
    check_gradient(model, feeds, symbolic=symbolic)
    check_gradient(model, feeds, symbolic=symbolic, constant=["scale", "bias", "mean", "var"])


@pytest.mark.parametrize("opset", [7, 9, 14])
@pytest.mark.parametrize("keep", [False, True])
def test_batch_normalization_of_old_opsets(opset: int, keep: bool) -> None:
    """The reference evaluator has no old ones: as the newest, which is held above."""
    feeds = {"x": _normal(2, 3, 4, 4), **_statistics(3)}
    old = node_model("BatchNormalization", feeds, opset=opset)
    old.ir_version = 7
    source = Model(onnx.shape_inference.infer_shapes(old), Weights(), "") if keep else old
    seed = _normal(2, 3, 4, 4)
    new = node_model("BatchNormalization", feeds)
    for got, want in zip(_grads(source, feeds, seed), _grads(new, feeds, seed), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


def test_batch_normalization_in_training() -> None:
    outputs = ("y", "running mean", "running var")
    feeds = {"x": _normal(3, 2, 3, 4), **_statistics(2)}
    model = node_model("BatchNormalization", feeds, outputs, training_mode=1, momentum=0.7)
    for symbolic in (False, True):
        check_gradient(model, feeds, symbolic=symbolic, step=2.0**-10, rtol=1e-3)


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("outputs", [("y",), ("y", "mean", "inv")])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("symbolic", [False, True])
def test_layer_normalization(axis: int, outputs: Any, bias: bool, symbolic: bool) -> None:
    shape = (2, 3, 4)[axis:] if axis > 0 else (4,)
    feeds = {"x": _normal(2, 3, 4), "scale": _normal(*shape)}
    if bias:
        feeds["b"] = _normal(*shape)
    model = node_model("LayerNormalization", feeds, outputs, axis=axis)
    check_gradient(model, feeds, symbolic=symbolic, step=2.0**-10, rtol=1e-3)


def _grads(model: Any, feeds: dict[str, np.ndarray], seed: np.ndarray) -> list[np.ndarray]:
    session = Session(vjp_model(model, list(feeds), ["y"]), device="cpu")
    return session.run({**feeds, "ct::y": seed}, [f"grad::{n}" for n in feeds])


def _torch(feeds: dict[str, np.ndarray], seed: np.ndarray, forward: Any) -> list[np.ndarray]:
    given = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in feeds.values()]
    y = forward(*given)
    return [g.numpy() for g in torch.autograd.grad(y, given, torch.tensor(seed).double())]


CASES: dict[str, tuple[str, dict[str, Any], Any, tuple[tuple[int, ...], ...]]] = {
    "instance": (
        "InstanceNormalization", {"epsilon": 1e-3},
        lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=1e-3),
        ((2, 3, 4, 5), (3,), (3,)),
    ),
    "group": (
        "GroupNormalization", {"num_groups": 2, "epsilon": 1e-3},
        lambda x, s, b: F.group_norm(
            x, 2, s.repeat_interleave(2), b.repeat_interleave(2), 1e-3
        ),
        ((2, 4, 3, 3), (2,), (2,)),
    ),
    "layer": (
        "LayerNormalization", {"axis": 2, "epsilon": 1e-3},
        lambda x, s, b: F.layer_norm(x, (4, 5), s, b, 1e-3),
        ((2, 3, 4, 5), (4, 5), (4, 5)),
    ),
    "lrn odd": (
        "LRN", {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5},
        lambda x: F.local_response_norm(x, 3, 0.3, 0.6, 1.5),
        ((2, 6, 3, 4),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_as_torch_normalises(name: str) -> None:
    op_type, attributes, forward, shapes = CASES[name]
    feeds = dict(zip(("x", "s", "b"), (_normal(*s) for s in shapes), strict=False))
    seed = _normal(*shapes[0])
    node = helper.make_node(op_type, list(feeds), ["y"], **attributes)
    shapes_of = {name: list(value.shape) for name, value in feeds.items()}
    model = nets.model([node], shapes_of, {"y": list(shapes[0])})
    for got, want in zip(_grads(model, feeds, seed), _torch(feeds, seed, forward), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_lrn_windows(size: int) -> None:
    feeds = {
        "x": _normal(5, 5, 3, 2)
    }  # as many inputs as channels: onnx 1.23 counts them for channels
    model = node_model("LRN", feeds, size=size, alpha=0.5, beta=0.7, bias=1.0)
    for symbolic in (False, True):
        check_gradient(model, feeds, symbolic=symbolic)
