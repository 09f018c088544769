"""What onnx overlooks: the shapes that it infers are the shapes that ONNX Runtime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.variants import node_model
from torch.nn import functional

from onnxcam.autodiff import vjp_model
from onnxcam.graph.emit import proto_shape
from onnxcam.model.model import load


def test_an_attention_of_unknown_hidden_size_is_not_empty():
    model = parser.parse_model("""<ir_version: 10, opset_import: ["": 23]>
        g (float[B,S,H] q, float[B,T,H] k, float[B,T,H] v) => (float[B,S,G] z) {
          y = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v)
          z = Exp (y)
        }""")
    loaded = load(model).proto
    known = {v.name: proto_shape(v.type) for v in loaded.graph.value_info}
    assert known["y"][:2] == ["B", "S"]
    assert known["y"][2] is None
    assert [(n.op_type, n.domain) for n in loaded.graph.node] == [("Attention", ""), ("Exp", "")]
    assert [o.domain for o in loaded.opset_import] == [""]


def test_a_group_normalization_keeps_the_shape_and_what_is_behind_it_has_one():
    model = parser.parse_model("""<ir_version: 10, opset_import: ["": 21]>
        g (float[N,4,3] x) => (float[N,4,6] z)
        <float[4] s = {1,2,3,4}, float[3] by = {1,1,2}> {
          y = GroupNormalization <num_groups = 2> (x, s, s)
          m = MeanVarianceNormalization <axes = [2]> (y)
          z = Resize <mode = "linear"> (m, , by)
        }""")
    known = {v.name: proto_shape(v.type) for v in load(model).proto.graph.value_info}
    assert known["y"][1:] == known["m"][1:] == [4, 3]
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    check_gradient(model, {"x": x}, step=1e-2)


@pytest.mark.parametrize(("sides", "bins"), [("", 3), ("<onesided = 1>", 3), ("<onesided = 0>", 4)])
def test_sides_of_a_short_time_transform(sides, bins):
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["": 20]>
        g (float[2,11,1] x) => (float[2,A,B,2] y) <int64 s = {{3}}, float[4] w = {{1, 2, 2, 1}}> {{
          t = STFT {sides} (x, s, w)
          y = Exp (t)
        }}""")
    known = {v.name: proto_shape(v.type) for v in load(model).proto.graph.value_info}
    y = run(load(model).proto, {"x": np.ones((2, 11, 1), np.float32)})["y"]
    assert known["t"] == [2, 3, bins, 2] == list(y.shape)


WRONG = {
    "a rank": ("float[2,3] x", "float[6] y", "y = Relu (x)", ""),
    "a rank with symbols": ("float[N,3] x", "float[N] y", "y = Relu (x)", ""),
    "a dimension": ("float[2,3] x", "float[2,4] y", "y = Relu (x)", ""),
    "a whole sum": ("float[2,3] x", "float[1] y", "y = ReduceSum <keepdims = 0> (x)", ""),
    "a map of a convolution": ("float[1,2,5,5] x", "float[1,4] y", "y = Conv (x, w)",
                               "float[4,2,3,3] w"),
    "what lies between": ("float[2,3] x", "float[2,3] y", "h = Exp (x) y = Relu (h)", "float[6] h"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_the_operators_make_counts_not_what_is_declared(name):
    """As in ONNX Runtime, which warns and runs."""
    x, y, body, more = WRONG[name]
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 20]>
        g ({x}) => ({y}) <{more}> {{ {body} }}""")
    for info in [v for v in model.graph.value_info if v.name == "w"]:
        value = np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, "w"))
        model.graph.value_info.remove(info)
    before = model.SerializeToString()
    loaded = load(model)
    wrong = "h" if name == "what lies between" else "y"
    assert f"declared shapes dropped, the operators make others: {wrong!r}" in loaded.notes
    onnx.checker.check_model(loaded.proto, full_check=True)
    shape = [2 if d == "N" else d for d in proto_shape(model.graph.input[0].type)]
    report = check_gradient(model, {"x": np.random.default_rng(1).random(shape, np.float32)})
    assert report.runtime and report.compared > 0
    assert model.SerializeToString() == before


def test_what_is_declared_stays_where_nothing_contradicts_it():
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
        g (float[N,3] x, int64[2] s) => (float[A,3] y) <float[B,3] h> {
          h = Reshape (x, s) y = Relu (h) }""")
    loaded = load(model)
    assert not any("declared" in note for note in loaded.notes)
    known = {v.name: proto_shape(v.type) for v in loaded.proto.graph.value_info}
    assert known["h"] == ["B", 3]


# ---- pools whose last window would start in the end padding: before opset 22 onnx counts it

POOLS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "in the padding": ((5,), dict(kernel_shape=[2], strides=[2], pads=[1, 1])),
    "behind what is left over": ((6,), dict(kernel_shape=[1], strides=[4])),
    "one axis of two": ((4, 5), dict(kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])),
    "left over and cut": ((6, 5), dict(kernel_shape=[1, 3], strides=[3, 3], pads=[0, 1, 0, 1])),
    "left over and reaching out": ((6, 6), dict(kernel_shape=[1, 3], strides=[3, 2])),
    "a picture": ((8, 8), dict(kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1])),
    "dilated": ((5,), dict(kernel_shape=[2], strides=[3], pads=[1, 1], dilations=[2])),
    "dilated and left over": ((8,), dict(kernel_shape=[2], strides=[4], dilations=[2])),
}  # fmt: skip
KINDS: list[tuple[str, dict[str, int]]] = [
    ("MaxPool", {}),
    ("AveragePool", {"count_include_pad": 0}),
    ("AveragePool", {"count_include_pad": 1}),
    ("LpPool", {"p": 3}),
]
BEYOND = ("left over and reaching out", {"count_include_pad": 1})  # no paddings say so


def _torch_pool(op_type: str, x: torch.Tensor, said: dict[str, Any]) -> torch.Tensor | None:
    """Return what torch's pool with ceil_mode makes, None where it has no such pool."""
    n = x.dim() - 2
    pads = said.get("pads", [0] * 2 * n)
    if op_type == "LpPool" or pads[:n] != pads[n:]:
        return None
    settings = (said["kernel_shape"], said["strides"], pads[:n])
    if op_type == "MaxPool":
        pool = [functional.max_pool1d, functional.max_pool2d][n - 1]
        return pool(x, *settings, dilation=said.get("dilations", 1), ceil_mode=True)
    if "dilations" in said:
        return None
    pool = [functional.avg_pool1d, functional.avg_pool2d][n - 1]
    return pool(x, *settings, ceil_mode=True, count_include_pad=bool(said["count_include_pad"]))


@pytest.mark.parametrize(
    ("name", "op_type", "more"),
    [(name, *kind) for name in POOLS for kind in KINDS if (name, kind[1]) != BEYOND],
)
def test_a_pool_counts_the_windows_that_runtimes_have(name, op_type, more):
    space, settings = POOLS[name]
    said = {**settings, **more}
    x = np.random.default_rng(0).standard_normal((2, 3, *space)).astype(np.float32)
    model = node_model(op_type, {"x": x}, opset=20, ceil_mode=1, **said)
    want, loaded = run(model, {"x": x})["y"], load(model)
    (y,) = run(loaded.proto, {"x": x}).values()
    np.testing.assert_array_equal(y, want)
    assert proto_shape(loaded.proto.graph.output[0].type) == list(want.shape)
    assert "padding of a window that none has: 'y'" in "; ".join(loaded.notes)
    tensor = torch.tensor(x, requires_grad=True)
    expected = _torch_pool(op_type, tensor, said)
    dy = np.random.default_rng(1).standard_normal(want.shape).astype(np.float32)
    got = run(vjp_model(model, ["x"], ["y"]), {"x": x, "ct::y": dy})
    if expected is not None:
        expected.backward(torch.tensor(dy))
        np.testing.assert_allclose(want, expected.detach(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["grad::x"], tensor.grad, rtol=1e-5, atol=1e-6)
    report = check_gradient(model, {"x": x})
    assert report.runtime and report.compared > 0


@pytest.mark.parametrize("declared", ["h [1,1,4]", "h [1,1,3]", "nothing"])
def test_pools_in_a_row_and_what_is_declared_of_them(declared):
    """The second has its window too many only behind the first's right size, the third has none."""
    lengths = {"h [1,1,4]": "[1,1,4]", "h [1,1,3]": "[1,1,3]", "nothing": "[1,1,H]"}
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 20]>
        g (float[1,1,5] x) => (float[1,1,{"3" if "4" in declared else "N"}] z)
        <float{lengths[declared]} h> {{
          h = MaxPool <ceil_mode = 1, kernel_shape = [2], strides = [2], pads = [1, 1]> (x)
          k = AveragePool <ceil_mode = 1, kernel_shape = [2], strides = [2], pads = [1, 1]> (h)
          m = Exp (k)
          z = MaxPool <ceil_mode = 1, kernel_shape = [2], strides = [2]> (m)
        }}""")
    x = np.array([[[1, 4, 2, 5, 3]]], np.float32)
    want = run(model, {"x": x})["z"]
    loaded = load(model)
    known = {v.name: proto_shape(v.type) for v in loaded.proto.graph.value_info}
    assert known["h"] == [1, 1, 3] and known["m"] == [1, 1, 2] and want.shape == (1, 1, 1)
    assert proto_shape(loaded.proto.graph.output[0].type) == [1, 1, 1]
    np.testing.assert_array_equal(run(loaded.proto, {"x": x})["z"], want)
    assert check_gradient(model, {"x": x}, step=1e-3).compared > 0


def test_a_pool_that_no_paddings_describe_reads_less():
    """It leaves input over on one axis and counts padding, but not all of it, on the other.

    As it was, its output had the shape of one window more, and the gradient failed on that.
    """
    space, settings = POOLS[BEYOND[0]]
    x = np.random.default_rng(0).standard_normal((1, 1, *space)).astype(np.float32)
    model = node_model("AveragePool", {"x": x}, opset=20, ceil_mode=1, **settings, **BEYOND[1])
    loaded = load(model)
    assert any("window that none has" in note for note in loaded.notes)
    assert [n.op_type for n in loaded.proto.graph.node][-2:] == ["Slice", "AveragePool"]
    want = run(model, {"x": x})["y"]
    assert proto_shape(loaded.proto.graph.output[0].type) == list(want.shape)
    np.testing.assert_array_equal(run(loaded.proto, {"x": x})["y"], want)
    assert check_gradient(model, {"x": x}, step=1e-3).compared > 0
