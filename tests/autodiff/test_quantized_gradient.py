"""Straight-through gradients of quantised operators: against the model without its rounding."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import reference_repairs  # noqa: F401
from support.attention_cases import ATTENTION
from support.contrib_case import Case, lowered, model_of
from support.gradcheck import run, runtime_refuses
from support.quantized_cases import QUANTIZED
from support.relaxed import Relaxed, dynamic, further, limits, spread

from onnxcam.autodiff import vjp_model

CASES = [*QUANTIZED, *(c for c in ATTENTION if c.op_type == "QAttention")]
CASES = [c for c in CASES if c.op_type not in ("QEmbedLayerNormalization", "DynamicQuantizeLSTM")]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.label)
def test_operators_against_differences_without_rounding(case: Case, symbolic: bool):
    feeds = {k: v for k, v in case.feeds.items() if v is not None}
    name, output = next(k for k in feeds if k in "xb"), case.outputs[0]
    model = model_of(case, symbolic=symbolic)
    rng = np.random.default_rng(4)
    before = run(model, feeds)
    ct = rng.integers(-8, 9, before[output].shape).astype(np.float32) / 4
    grad = vjp_model(model, [name], [output])
    onnx.checker.check_model(grad, full_check=True)
    after = run(grad, {**feeds, f"ct::{output}": ct})
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)
    more = []
    if case.op_type == "DynamicQuantizeMatMul":
        more = [dynamic(*_dynamic_range(feeds["x"]))]
    want, smooth = Relaxed(lowered(model_of(case)), [output], more).gradient(feeds, name, [ct])
    assert smooth.mean() > 0.4
    got = after[f"grad::{name}"]
    assert got.dtype == np.float32
    scale = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(got[smooth], want[smooth], rtol=0, atol=2e-4 * scale)


def _dynamic_range(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return scale and zero point as DynamicQuantizeLinear's specification has them."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = (high - low) / 255
    return scale, np.array(np.clip(round(-low / scale), 0, 255), np.uint8)


# ---- QuantizeLinear and DequantizeLinear: one line of NumPy is the oracle

INT4, UINT4 = np.dtype(ml_dtypes.int4), np.dtype(ml_dtypes.uint4)
E4M3, E5M2 = np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2)
INT2, FLOAT4 = np.dtype(ml_dtypes.int2), np.dtype(ml_dtypes.float4_e2m1fn)
# dtype, shape of scale and zero point for x of (2, 4, 3), attributes, opset
LINEAR = {
    "a tensor": (np.uint8, (), {}, 20),
    "a tensor, opset 10": (np.uint8, (), {}, 10),
    "a tensor, opset 13": (np.int8, (), {"axis": 0}, 13),
    "an axis": (np.int8, (4,), {"axis": 1}, 20),
    "the default axis": (np.int8, (4,), {}, 20),
    "the last axis": (np.uint8, (3,), {"axis": -1}, 20),
    "the first axis": (np.uint8, (2,), {"axis": -3}, 20),
    "uint16": (np.uint16, (), {}, 21),
    "int16 an axis": (np.int16, (4,), {"axis": 1}, 21),
    "int4": (INT4, (4,), {"axis": 1}, 21),
    "uint4": (UINT4, (), {}, 21),
    "int2": (INT2, (), {}, 25),
    "float8": (E4M3, (), {}, 20),
    "float8 an axis": (E5M2, (4,), {"axis": 1}, 20),
    "float8 that overflows": (E4M3, (), {"saturate": 0}, 20),
    "float4": (FLOAT4, (), {}, 23),
    "blocks": (np.uint8, (2, 2, 3), {"axis": 1, "block_size": 2}, 21),
    "blocks, the last one shorter": (np.int8, (2, 4, 2), {"axis": 2, "block_size": 2}, 21),
    "int4 blocks": (INT4, (1, 4, 3), {"axis": 0, "block_size": 2}, 21),
}


def _parameters(key: str, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return scales that let about half of a standard normal saturate, and zero points."""
    kind, shape, _, _ = LINEAR[key]
    rng = np.random.default_rng(5)
    low, high = limits(np.dtype(kind))
    scale = np.asarray(1.5 / (high - low) * (1 + rng.random(shape)), dtype)
    whole = np.dtype(kind).name.startswith(("int", "uint"))
    zero = rng.integers(int(low) // 2, int(high) // 2 + 1, shape) if whole else np.zeros(shape)
    return scale, np.asarray(zero).astype(kind)


def _linear_model(op_type, key, x, scale, zero, with_zero=True):
    _, _, attributes, opset = LINEAR[key]
    kinds = {"QuantizeLinear": zero.dtype, "DequantizeLinear": scale.dtype}
    attributes = {k: v for k, v in attributes.items() if k != "saturate" or op_type[0] == "Q"}
    inputs = ["x", "s", "z"][: 2 + with_zero]
    node = helper.make_node(op_type, inputs, ["y"], **attributes)
    number = helper.np_dtype_to_tensor_dtype
    infos = [helper.make_tensor_value_info("x", number(x.dtype), x.shape),
             helper.make_tensor_value_info("s", number(scale.dtype), scale.shape)]  # fmt: skip
    y = helper.make_tensor_value_info("y", number(kinds[op_type]), x.shape)
    weights = [numpy_helper.from_array(zero, "z")] if with_zero else []
    graph = helper.make_graph([node], "graph", infos, [y], weights)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10 if opset < 25 else 12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("key", LINEAR)
def test_quantize_linear_passes_gradients_inside_its_range(key: str, dtype: type):
    kind, _, attributes, opset = LINEAR[key]
    if dtype == np.float16 and opset < 19:
        pytest.skip("before opset 19 QuantizeLinear is float32 only")
    scale, zero = _parameters(key, np.dtype(dtype))
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, 4, 3)).astype(dtype)
    model = _linear_model("QuantizeLinear", key, x, scale, zero)
    grad = vjp_model(model, ["x", "s"], ["y"])
    onnx.checker.check_model(grad, full_check=True)
    assert _kind(grad, "ct::y") == TensorProto.FLOAT
    dy = rng.standard_normal(x.shape).astype(np.float32)

    axis, block = attributes.get("axis"), attributes.get("block_size")
    s, z = spread(scale, x, axis, block), spread(zero, x, axis, block)
    low, high = (further(end - z) for end in limits(np.dtype(kind)))
    steps = x.astype(np.float64) / s
    inside = (steps >= low) & (steps <= high)
    assert 0.2 < inside.mean() < 0.97
    dx = dy * inside / s
    if np.dtype(kind) == FLOAT4:
        return  # ONNX Runtime has no kernel for it: that it builds is all
    ds = _summed(-dx * x / s, scale, x, axis, block)
    with np.errstate(over="ignore"):  # what a float16 cannot hold is infinite there
        dx, ds = dx.astype(dtype).astype(np.float32), ds.astype(dtype).astype(np.float32)
    got = run(grad, {"x": x, "s": scale, "ct::y": dy}, ["grad::x", "grad::s"])
    rtol = 1e-5 if dtype == np.float32 else 5e-3
    for name, want in (("x", dx), ("s", ds)):
        far = 4 * rtol * np.abs(want[np.isfinite(want)]).max(initial=0)
        np.testing.assert_allclose(got[f"grad::{name}"], want, rtol=4 * rtol, atol=far)


@pytest.mark.parametrize("with_zero", [True, False], ids=["zero point", "no zero point"])
@pytest.mark.parametrize("key", LINEAR)
def test_dequantize_linear_is_linear(key: str, with_zero: bool):
    kind, _, attributes, _ = LINEAR[key]
    scale, zero = _parameters(key, np.dtype(np.float32))
    rng = np.random.default_rng(7)
    low, high = limits(np.dtype(kind))
    x = rng.uniform(low / 2, high / 2, (2, 4, 3)).astype(kind)
    model = _linear_model("DequantizeLinear", key, x, scale, zero, with_zero)
    grad = vjp_model(model, ["x", "s"], ["y"])
    onnx.checker.check_model(grad, full_check=True)
    assert _kind(grad, "grad::x") == TensorProto.FLOAT
    assert _gradient_kind(grad) == "exact"
    if np.dtype(kind).kind not in "iu":
        return  # NumPy's small floats and nibbles cannot be fed to ONNX Runtime
    dy = rng.standard_normal(x.shape).astype(np.float32)
    got = run(grad, {"x": x, "s": scale, "ct::y": dy}, ["grad::x", "grad::s"])
    axis, block = attributes.get("axis"), attributes.get("block_size")
    s, z = spread(scale, x, axis, block), spread(zero, x, axis, block) * with_zero
    np.testing.assert_allclose(got["grad::x"], dy * s, rtol=1e-5)
    ds = _summed(dy * (x - z), scale, x, axis, block)
    np.testing.assert_allclose(got["grad::s"], ds, rtol=1e-4, atol=1e-4 * np.abs(ds).max())


@pytest.mark.parametrize("key", LINEAR)
def test_a_pair_is_the_identity_in_its_range(key: str):
    """dx = dy where x is inside; dscale = dy (q - zero - x / scale there), as LSQ has it."""
    kind, _, attributes, _ = LINEAR[key]
    scale, zero = _parameters(key, np.dtype(np.float32))
    rng = np.random.default_rng(8)
    x, dy = rng.standard_normal((2, 2, 4, 3)).astype(np.float32)
    model = _linear_model("QuantizeLinear", key, x, scale, zero)
    back = helper.make_node("DequantizeLinear", ["y", "s", "z"], ["r"])
    back.attribute.extend(a for a in model.graph.node[0].attribute if a.name != "saturate")
    model.graph.node.append(back)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("r", 1, x.shape))
    grad = vjp_model(model, ["x", "s"], ["r"])
    onnx.checker.check_model(grad, full_check=True)
    assert _gradient_kind(grad) == "straight-through (QuantizeLinear)"
    feeds = {"x": x, "s": scale, "ct::r": dy}
    if runtime_refuses(model, feeds):
        assert key in ("float4", "int2")
        return
    got = run(grad, feeds, ["r", "grad::x", "grad::s"])
    axis, block = attributes.get("axis"), attributes.get("block_size")
    s, z = spread(scale, x, axis, block), spread(zero, x, axis, block)
    low, high = (further(end - z) for end in limits(np.dtype(kind)))
    inside = (x / s.astype(float) >= low) & (x / s.astype(float) <= high)
    finite = np.isfinite(got["r"])
    np.testing.assert_allclose(got["grad::x"], dy * inside, rtol=1e-6)
    if finite.all():
        want = _summed(dy * (got["r"] - x * inside) / s, scale, x, axis, block)
        far = 1e-5 * np.abs(dy * x / s).sum()
        np.testing.assert_allclose(got["grad::s"], want, rtol=1e-4, atol=far)


def _summed(d, scale, x, axis, block):
    """Add up per-element gradients of a scale, entry by entry."""
    out = np.zeros(scale.size)
    owner = np.broadcast_to(
        spread(np.arange(scale.size).reshape(scale.shape), x, axis, block), x.shape
    )
    np.add.at(out, owner.astype(int).ravel(), d.ravel())
    return out.reshape(scale.shape)


def _kind(model, name):
    infos = {v.name: v for v in [*model.graph.input, *model.graph.output]}
    return infos[name].type.tensor_type.elem_type


def _gradient_kind(model):
    return {p.key: p.value for p in model.metadata_props}["onnxcam.gradient"]


def test_what_rounds_into_the_range_is_inside_but_0_ends_a_relu():
    x = np.array([-1.0, -0.51, -0.49, 0.0, 0.3, 127.5, 255.0, 255.4, 255.6, 300.0], np.float32)
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"])
    infos = [helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [10]), ("s", []))]
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, [10])
    model = helper.make_model(helper.make_graph([node], "graph", infos, [y]), ir_version=9,
                              opset_imports=[helper.make_opsetid("", 20)])  # fmt: skip
    grad = vjp_model(model, ["x"], ["y"])
    got = run(grad, {"x": x, "s": np.array(1, np.float32), "ct::y": x * 0 + 1})
    assert got["grad::x"].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0]
