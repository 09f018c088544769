"""What a gradient reads inside a quantised unit does not change what the model predicts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from support.quirk_probes import model_of

import onnxcam
from onnxcam.autodiff import vjp_model
from onnxcam.targets import Probability

INPUTS = 24
WEIGHTS = {
    "w": (8, 3, 3, 3), "b": (8,), "v": (8, 8, 3, 3), "d": (8, 1, 3, 3), "g": (5, 8), "c": (5,),
}  # fmt: skip
# What lies between the first convolution h and the features f.
UNITS = {
    "bare": "f = Conv <pads = [1, 1, 1, 1]> (h, v, b)",
    "relu": "t = Conv <pads = [1, 1, 1, 1]> (h, v, b) f = Relu (t)",
    "clip": "t = Conv <pads = [1, 1, 1, 1]> (h, v, b) f = Clip (t, zero, six)",
    "depthwise": "t = Conv <group = 8> (h, d, b) f = Relu (t)",
    "sum": "t = Conv <pads = [1, 1, 1, 1]> (h, v, b) s = Add (h, t) f = Relu (s)",
    "product": "t = Conv <pads = [1, 1, 1, 1]> (h, v) s = Sigmoid (t) f = Mul (t, s)",
    "pools": "t = MaxPool <kernel_shape = [2, 2]> (h) f = AveragePool <kernel_shape = [3, 3]> (t)",
    "leaky": "t = Conv (h, v, b) f = LeakyRelu <alpha = 0.1> (t)",
    "join": "t = Conv <pads = [1, 1, 1, 1]> (h, v, b) f0 = Concat <axis = 1> (h, t)"
    " f = Conv <group = 8> (f0, dd)",
}


class _Samples(CalibrationDataReader):
    def __init__(self, samples: np.ndarray) -> None:
        self.left = [{"x": x[None]} for x in samples]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def _float(unit: str, opset: int = 20) -> ModelProto:
    rng = np.random.default_rng(len(unit))
    model = model_of(
        f"""(float[N,3,12,12] x) => (float[N,5] y)
      <float zero = {{0}}, float six = {{2}}> {{
        k = Conv <pads = [1, 1, 1, 1]> (x, w, b) h = Relu (k)
        {UNITS[unit]}
        p = GlobalAveragePool (f) r = Flatten (p) y = Gemm <transB = 1> (r, g, c)
    }}""",
        opset,
        10,
    )
    shapes = {**WEIGHTS, "dd": (8, 2, 3, 3)}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        model.graph.initializer.append(numpy_helper.from_array(np.float32(values), name))
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
    return model


def _inputs() -> np.ndarray:
    return np.random.default_rng(7).standard_normal((INPUTS, 3, 12, 12)).astype(np.float32)


def _quantised(unit: str, folder: Path, opset: int = 20, **options: Any) -> ModelProto:
    source, target = folder / "plain.onnx", folder / "quantised.onnx"
    onnx.save(_float(unit, opset), source)
    quantize_static(
        source, target, _Samples(_inputs()[:8]), quant_format=QuantFormat.QDQ, **options
    )
    return onnx.load(target)


def _run(model: ModelProto, outputs: list[str], *, optimise: bool = True) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"x": _inputs()}
    seeds = {i.name for i in session.get_inputs()} - {"x", "onnxcam.target"}
    feeds |= {name: np.ones((INPUTS, 5), np.float32) for name in seeds}
    return list(session.run(outputs, feeds))


def _on_integers(model: ModelProto, folder: Path) -> Counter[str]:
    """Return what ONNX Runtime runs on integers, once it has optimised a model."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(folder / "optimised.onnx").graph.node
    return Counter(n.op_type for n in nodes if n.op_type.startswith(("QLinear", "QGemm")))


@pytest.mark.parametrize("unit", UNITS)
def test_predictions_stay_bit_for_bit_with_optimisations_on(unit: str, tmp_path: Path) -> None:
    model = _quantised(unit, tmp_path, activation_type=QuantType.QUInt8, per_channel=True)
    (want,) = _run(model, ["y"])
    fused = _on_integers(model, tmp_path)
    assert fused["QLinearConv"]
    ways: list[dict[str, Any]] = [
        {"method": "saliency"},
        {"method": "saliency", "runtime_targets": True},
        {"method": "input-x-gradient", "target": Probability()},
        {"method": "gradcam", "feature_layer": "h_DequantizeLinear_Output"},
        {"method": "gradcam", "expose": ["feature", "gradient"]},
    ]
    for way in ways:
        made = onnxcam.convert(model, check=False, **way).proto
        np.testing.assert_array_equal(_run(made, ["y"])[0], want, err_msg=str(way))
        assert _on_integers(made, tmp_path) >= fused, way


@pytest.mark.parametrize(
    "way", [{"activation_type": QuantType.QInt16}, {"activation_type": QuantType.QInt8}]
)
def test_other_widths(way: dict[str, Any], tmp_path: Path) -> None:
    model = _quantised("sum", tmp_path, **way)
    (want,) = _run(model, ["y"])
    made = onnxcam.convert(model, check=False, method="saliency").proto
    np.testing.assert_array_equal(_run(made, ["y"])[0], want)


@pytest.mark.parametrize("method", ["gradcam", "layercam", "xgradcam", "saliency"])
@pytest.mark.parametrize("unit", ["relu", "pools"])
@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
def test_int8_at_later_opsets(kind: QuantType, unit: str, method: str, tmp_path: Path) -> None:
    """ONNX Runtime moves a DequantizeLinear of int8 wrongly there."""
    model = _quantised(unit, tmp_path, 21, activation_type=kind)
    (want,) = _run(model, ["y"])
    made = onnxcam.convert(model, method=method).proto
    np.testing.assert_array_equal(_run(made, ["y"])[0], want)


@pytest.mark.parametrize("unit", UNITS)
def test_gradients_of_what_lies_inside_are_those_of_the_plain_nodes(
    unit: str, tmp_path: Path
) -> None:
    """Without optimisations the copies compute what the nodes themselves do."""
    model = _quantised(unit, tmp_path, activation_type=QuantType.QUInt8)
    inside = [n.output[0] for n in model.graph.node if n.op_type in ("Conv", "Relu", "Add", "Mul")]
    made = vjp_model(model, ["x", *inside], ["y"])
    names = [f"grad::{name}" for name in ("x", *inside)]
    copies = [n for n in made.graph.node if n.name.startswith("onnxcam/apart/")]
    assert copies
    plain = _without_copies(made)
    for got, want in zip(
        _run(made, names, optimise=False), _run(plain, names, optimise=False), strict=True
    ):
        np.testing.assert_array_equal(got, want)
    assert any(np.abs(g).max() > 0 for g in _run(made, names))


def _without_copies(model: ModelProto) -> ModelProto:
    """Return the model with what reads a copy reading the model's own node instead."""
    plain = ModelProto()
    plain.CopyFrom(model)
    copies = [n for n in plain.graph.node if n.name.startswith("onnxcam/apart/")]
    others = [n for n in plain.graph.node if not n.name.startswith("onnxcam/")]
    twin: dict[str, str] = {}
    for copy in copies:
        inputs = [twin.get(name, name) for name in copy.input]
        (own,) = [n for n in others if n.op_type == copy.op_type and list(n.input) == inputs]
        twin[copy.output[0]] = own.output[0]
        plain.graph.node.remove(copy)
    for node in plain.graph.node:
        node.input[:] = [twin.get(name, name) for name in node.input]
    return plain


def test_what_is_not_rounded_is_not_written_twice(tmp_path: Path) -> None:
    """A feature in reals, and a rounding behind operators that read no integers."""
    model = model_of("""(float[N,4] x) => (float[N,4] y)
      <float s = {0.1}, uint8 z = {128}> {
        a = Sigmoid (x) b = Relu (a) q = QuantizeLinear (b, s, z) d = DequantizeLinear (q, s, z)
        e = Tanh (d) y = Sigmoid (e)
    }""")
    made = vjp_model(model, ["x"], ["y"])
    assert not [n for n in made.graph.node if "apart" in n.name]
