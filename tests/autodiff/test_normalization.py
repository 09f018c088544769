"""Normalisations against differences, and against torch in double."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.second_order import check_second_order
from support.variants import node_model, symbolic

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.engine import vjp
from onnxcam.model.draft import Draft


def _random(seed, **shapes):
    rng = np.random.default_rng(seed)
    return {k: (rng.standard_normal(v) * 2 + 0.5).astype(np.float32) for k, v in shapes.items()}


# (feeds' shapes, outputs, attributes)
LAYER = {
    "last": (dict(x=(2, 3, 5), s=5, b=5), ["y"], {}),
    "no bias": (dict(x=(2, 3, 5), s=5), ["y"], {}),
    "first axis": (dict(x=(2, 3, 2), s=(2, 3, 2), b=(2, 3, 2)), ["y"], dict(axis=0)),
    "two axes": (dict(x=(2, 3, 4), s=(3, 4), b=(3, 4)), ["y"], dict(axis=1, epsilon=0.1)),
    "negative axis": (dict(x=(2, 3, 4), s=(3, 4), b=(3, 4)), ["y"], dict(axis=-2)),
    "scale broadcasts": (dict(x=(2, 3, 4), s=(1, 4), b=4), ["y"], dict(axis=1)),
    "mean too": (dict(x=(2, 3, 5), s=5, b=5), ["y", "mean"], {}),
    "all outputs": (dict(x=(2, 3, 5), s=5, b=5), ["y", "mean", "r"], {}),
    "all outputs, two axes": (dict(x=(2, 3, 4), s=(3, 4)), ["y", "mean", "r"], dict(axis=1)),
}
OTHERS = {
    "instance 1-D": ("InstanceNormalization", dict(x=(2, 3, 5), s=3, b=3), 20, {}),
    "instance 2-D": ("InstanceNormalization", dict(x=(2, 2, 3, 4), s=2, b=2), 20, {}),
    "instance 3-D": ("InstanceNormalization", dict(x=(1, 2, 2, 3, 2), s=2, b=2), 20, {}),
    "rms": ("RMSNormalization", dict(x=(2, 3, 5), s=5), 23, {}),
    "rms two axes": ("RMSNormalization", dict(x=(2, 3, 4), s=(3, 4)), 23, dict(axis=1)),
    "rms scale broadcasts": ("RMSNormalization", dict(x=(2, 3, 4), s=4), 23, dict(axis=-2)),
    "lrn": ("LRN", dict(x=(2, 6, 3, 2)), 20, dict(size=3, alpha=0.5, beta=0.6, bias=2.0)),
    "lrn 1-D": ("LRN", dict(x=(1, 5, 3)), 20, dict(size=5, alpha=0.5)),
    "lrn wider than the channels": ("LRN", dict(x=(1, 3, 2, 2)), 20, dict(size=9, alpha=0.5)),
}


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("name", LAYER)
def test_layer_normalization(name, dims):
    shapes, outputs, settings = LAYER[name]
    feeds = _random(0, **shapes)
    model = node_model("LayerNormalization", feeds, outputs, **settings)
    assert check_gradient(model, feeds, symbolic=dims == "symbolic").runtime


@pytest.mark.parametrize("output", ["mean", "r"])
def test_statistics_alone(output):
    feeds = _random(1, x=(2, 3, 5), s=5, b=5)
    model = node_model("LayerNormalization", feeds, ["y", "mean", "r"])
    assert check_gradient(model, feeds, outputs=[output]).runtime


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("name", OTHERS)
def test_others(name, dims):
    op_type, shapes, opset, settings = OTHERS[name]
    feeds = _random(2, **shapes)
    model = node_model(op_type, feeds, opset=opset, **settings)
    report = check_gradient(model, feeds, symbolic=dims == "symbolic")
    assert report.runtime or name == "lrn 1-D"  # ONNX Runtime's is for images only


def _group_model(feeds, **settings):
    """ONNX infers no type for this operator: it is given here."""
    model = node_model("GroupNormalization", feeds, **settings)
    del model.graph.value_info[:]
    model.graph.output[0].type.CopyFrom(model.graph.input[0].type)
    return model


def _check_with(forward, model, feeds, forget):
    """Compare with torch: ``forward`` takes the feeds as double tensors."""
    forgotten = symbolic(model)
    forgotten.graph.output[0].type.CopyFrom(forgotten.graph.input[0].type)
    grad = vjp_model(forgotten if forget else model, list(feeds), ["y"])
    tensors = {k: torch.tensor(v).double().requires_grad_() for k, v in feeds.items()}
    y = forward(**tensors)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).double()
    y.backward(dy)
    got = run(grad, {**feeds, "ct::y": dy.numpy().astype(np.float32)})
    np.testing.assert_allclose(got["y"], y.detach(), atol=1e-4)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(got[f"grad::{name}"], tensor.grad, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("forget", [False, True])
def test_lrn_as_in_torch(forget):
    feeds = _random(3, x=(2, 6, 3, 2))
    model = node_model("LRN", feeds, size=3, alpha=0.5, beta=0.6, bias=2.0)
    _check_with(lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 2.0), model, feeds, forget)


@pytest.mark.parametrize("forget", [False, True])
@pytest.mark.parametrize("space", [(5,), (2, 3)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_normalization(groups, space, forget):
    feeds = _random(3, x=(2, 6, *space), s=6, b=6)
    model = _group_model(feeds, opset=21, num_groups=groups)
    _check_with(lambda x, s, b: F.group_norm(x, groups, s, b), model, feeds, forget)


def test_group_normalization_with_scales_per_group():
    """Its first version, which the checker rejects and runtimes expand: only the gradient runs."""
    feeds = _random(4, x=(2, 6, 4), s=3, b=3)
    dy = _random(5, x=(2, 6, 4))["x"]
    draft = Draft(_group_model(feeds, opset=18, num_groups=3))
    cotangent = draft.input("ct", np.float32, dy.shape)
    names = list(feeds)
    grads = vjp(draft.op, [(draft.tensor("y"), cotangent)], [draft.tensor(n) for n in names])
    for name, grad in zip(names, grads, strict=True):
        draft.output(grad, f"d{name}")
    built = draft.build()
    del built.graph.node[0], built.graph.output[0]

    x, s, b = (torch.tensor(v).double().requires_grad_() for v in feeds.values())
    y = F.group_norm(x, 3, s.repeat_interleave(2), b.repeat_interleave(2))
    y.backward(torch.tensor(dy).double())
    got = run(built, {**feeds, "ct": dy})
    for name, leaf in zip(names, (x, s, b), strict=True):
        np.testing.assert_allclose(got[f"d{name}"], leaf.grad, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes(dtype):
    feeds = {k: v.astype(dtype) for k, v in _random(5, x=(2, 4, 6), s=6, b=6).items()}
    assert check_gradient(node_model("LayerNormalization", feeds), feeds).runtime
    feeds.pop("b")
    assert check_gradient(node_model("RMSNormalization", feeds, opset=23), feeds).runtime
    feeds = {k: v.astype(dtype) for k, v in _random(5, x=(2, 4, 6), s=4, b=4).items()}
    check_gradient(node_model("InstanceNormalization", feeds), feeds)


@pytest.mark.parametrize("op_type", ["LayerNormalization", "GroupNormalization"])
def test_bfloat16_means_are_taken_in_single(op_type):
    """The mean of many bfloat16 values needs more than 8 bits."""
    size = 8 if op_type == "LayerNormalization" else 2
    feeds = _random(6, x=(1, 2, 8), s=size, b=size)
    feeds = {k: v.astype(ml_dtypes.bfloat16) for k, v in feeds.items()}
    model = node_model(op_type, feeds) if size == 8 else _group_model(feeds, opset=21, num_groups=1)
    grad = vjp_model(model, ["x"], ["y"])
    onnx.checker.check_model(grad, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(grad, strict_mode=True).graph.value_info
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred}
    means = [n.output[0] for n in grad.graph.node if n.op_type == "ReduceMean"]
    assert means
    assert all(kinds[name] == onnx.TensorProto.FLOAT for name in means)


@pytest.mark.parametrize(
    ("op_type", "shapes", "opset", "settings"),
    [
        ("LayerNormalization", dict(x=(2, 4), s=4, b=4), 20, {}),
        ("InstanceNormalization", dict(x=(1, 2, 4), s=2, b=2), 20, {}),
        ("RMSNormalization", dict(x=(2, 4), s=4), 23, {}),
        ("LRN", dict(x=(1, 4, 2, 1)), 20, dict(size=3, alpha=0.5)),
    ],
)
def test_second_order(op_type, shapes, opset, settings):
    feeds = _random(7, **shapes)
    model = node_model(op_type, feeds, opset=opset, **settings)
    check_second_order(model, feeds, list(feeds), ["y"], rtol=1e-4, runtime_rtol=2e-3)


def test_constant_input_has_a_finite_gradient():
    feeds = {"x": np.full((1, 2, 4), 3, np.float32), **_random(8, s=4, b=4)}
    model = node_model("LayerNormalization", feeds)
    dy = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    got = run(vjp_model(model, ["x"], ["y"]), {**feeds, "ct::y": dy})["grad::x"]
    g = dy * feeds["s"]
    want = (g - g.mean(-1, keepdims=True)) / np.sqrt(1e-5)
    np.testing.assert_allclose(got, want, rtol=1e-4)
