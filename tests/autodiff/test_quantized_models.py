"""Models that onnxruntime.quantization made have, straight through, the float model's gradients."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from support import reference_repairs  # noqa: F401
from support.gradcheck import run
from torch import nn

from onnxcam.autodiff import vjp_model

QDQ, OPERATORS = QuantFormat.QDQ, QuantFormat.QOperator
U8, I8, I16, I4 = QuantType.QUInt8, QuantType.QInt8, QuantType.QInt16, QuantType.QInt4
STATIC: dict[str, dict[str, Any]] = {
    "qdq-uint8": {"quant_format": QDQ, "activation_type": U8},
    "qdq-int8": {"quant_format": QDQ},
    "qdq-per-channel": {"quant_format": QDQ, "activation_type": U8, "per_channel": True},
    "qdq-int16": {"quant_format": QDQ, "activation_type": I16, "per_channel": True},
    "operators-uint8": {"quant_format": OPERATORS, "activation_type": U8, "weight_type": U8},
    "operators-int8": {"quant_format": OPERATORS},
    "operators-per-channel": {"quant_format": OPERATORS, "activation_type": U8,
                              "per_channel": True},
}  # fmt: skip


class Cnn(nn.Module):
    """Everything a quantised picture classifier is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.depth, self.point = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 1)
        self.left, self.right = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 3, padding=1)
        self.gate, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 4)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 2)
        x = x + self.point(nn.functional.relu6(self.depth(x)))
        x = torch.cat([nn.functional.leaky_relu(self.left(x), 0.1), self.right(x)], 1)
        x = x * torch.sigmoid(self.gate(nn.functional.adaptive_avg_pool2d(x, 1)))
        x = nn.functional.avg_pool2d(x, 2)
        return self.head(x.mean((2, 3)))


class Mixer(nn.Module):
    """An attention layer and a GELU network, as in a transformer."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.norm = nn.LayerNorm(width)
        self.up, self.down, self.head = (nn.Linear(a, b) for a, b in ((16, 64), (64, 16), (16, 4)))

    def forward(self, x):
        p = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) / 4, -1)
        x = self.norm(x + p @ self.v(x))
        return self.head((x + self.down(nn.functional.gelu(self.up(x)))).mean(1))


NETS = {"cnn": (Cnn, (2, 3, 32, 32)), "mixer": (Mixer, (2, 8, 16))}


def _sample(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(4).standard_normal(shape).astype(np.float32)


class _Samples(CalibrationDataReader):
    """Wider than the sample that is explained: a saturated logit has no gradient."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(3)
        others = [rng.standard_normal(shape).astype(np.float32) for _ in range(7)]
        self.left = [{"x": x} for x in (1.5 * _sample(shape), *others)]

    def get_next(self):
        return self.left.pop() if self.left else None


@pytest.fixture(scope="module", params=NETS)
def net(request, tmp_path_factory) -> tuple[str, Path]:
    torch.manual_seed(1)
    make, shape = NETS[request.param]
    path = tmp_path_factory.mktemp(request.param) / "float.onnx"
    torch.onnx.export(make().eval(), torch.zeros(shape), str(path), input_names=["x"],
                      output_names=["y"], opset_version=17, dynamo=False)  # fmt: skip
    ready = path.with_name("ready.onnx")
    quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
    return request.param, ready


def _correlation(name: str, plain: onnx.ModelProto, quantised: onnx.ModelProto) -> float:
    x = _sample(NETS[name][1])
    ct = np.zeros((2, 4), np.float32)
    ct[:, 1], ct[:, 2] = 1, -1
    a, b = (run(vjp_model(m, ["x"], ["y"]), {"x": x, "ct::y": ct}, ["grad::x"])["grad::x"]
            for m in (plain, quantised))  # fmt: skip
    assert 0.8 < np.linalg.norm(b) / np.linalg.norm(a) < 1.25
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("key", STATIC)
def test_static(net, key: str):
    name, path = net
    out = path.with_name(f"{key}.onnx")
    quantize_static(str(path), str(out), _Samples(NETS[name][1]), **STATIC[key])
    model = onnx.load(out)
    kinds = Counter(n.op_type for n in model.graph.node)
    assert kinds["QuantizeLinear"] >= 1
    if "operators" in key and name == "cnn":
        assert kinds["QLinearConv"] == 6
    assert _correlation(name, onnx.load(path), model) > 0.98
    grad = vjp_model(model, ["x"], ["y"])
    (said,) = [p.value for p in grad.metadata_props if p.key == "onnxcam.gradient"]
    assert said == "straight-through (QuantizeLinear)"


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("weight_type", [U8, I8], ids=["uint8", "int8"])
def test_dynamic(net, weight_type: QuantType, per_channel: bool):
    name, path = net
    out = path.with_name("dynamic.onnx")
    quantize_dynamic(str(path), str(out), weight_type=weight_type, per_channel=per_channel)
    model = onnx.load(out)
    kinds = Counter(n.op_type for n in model.graph.node)
    assert kinds["DynamicQuantizeLinear"] >= 1
    assert kinds["ConvInteger" if name == "cnn" else "MatMulInteger"] >= 1
    assert _correlation(name, onnx.load(path), model) > 0.98


@pytest.mark.parametrize("key", ["qdq-uint8", "qdq-int8", "qdq-per-channel", "dynamic"])
def test_what_the_optimiser_makes_of_a_quantised_file(net, key: str):
    name, path = net
    out = path.with_name(f"to-optimise-{key}.onnx")
    if key == "dynamic":
        quantize_dynamic(str(path), str(out))
    else:
        quantize_static(str(path), str(out), _Samples(NETS[name][1]), **STATIC[key])
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(out.with_suffix(".optimised.onnx"))
    ort.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
    model = onnx.load(options.optimized_model_filepath)
    kinds = {n.op_type for n in model.graph.node if n.domain == "com.microsoft"}
    if key != "dynamic":
        assert kinds & {"QLinearAdd", "QLinearSoftmax", "QLinearSigmoid"}
    elif name == "mixer":
        assert kinds & {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
    assert _correlation(name, onnx.load(path), model) > 0.98


def test_weights_alone_in_integers_keep_the_gradient_exact(net):
    name, path = net
    plain, model = onnx.load(path), onnx.load(path)
    for tensor in list(model.graph.initializer):
        value = onnx.numpy_helper.to_array(tensor)
        if value.ndim < 2:
            continue
        scale = np.abs(value).max() / 127
        steps = np.round(value / scale).astype(np.int8)
        for new, suffix in ((steps, "q"), (np.array(scale, np.float32), "s")):
            model.graph.initializer.append(
                onnx.numpy_helper.from_array(new, f"{tensor.name}.{suffix}")
            )
        names = [f"{tensor.name}.q", f"{tensor.name}.s"]
        node = onnx.helper.make_node("DequantizeLinear", names, [tensor.name])
        model.graph.node.insert(0, node)
        model.graph.initializer.remove(tensor)
    assert _correlation(name, plain, model) > 0.98
    grad = vjp_model(model, ["x"], ["y"])
    assert [p.value for p in grad.metadata_props if p.key == "onnxcam.gradient"] == ["exact"]
