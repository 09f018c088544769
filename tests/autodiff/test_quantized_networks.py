"""Whole networks after onnxruntime's quantiser: how near their gradients are to the float ones.

In 16 bits they are the float ones, so the estimator is right. In 8 bits the networks with smooth
activations keep the gradient of the input; behind many ReLUs it is another, since rounding moves
values over to the other side of 0, but at the feature layer it is the same again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from architectures import ARCHITECTURES
from architectures.export import FEATURE, INPUT, OUTPUT, export
from architectures.weights import calibrated, inputs
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from support.gradcheck import run

from onnxcam import Explainer
from onnxcam.autodiff import vjp_model

U8, I16 = QuantType.QUInt8, QuantType.QInt16
WAYS: dict[str, dict[str, Any]] = {
    "pairs": dict(quant_format=QuantFormat.QDQ, activation_type=U8, per_channel=True),
    "operators": dict(quant_format=QuantFormat.QOperator, activation_type=U8, weight_type=U8),
    "fine": dict(
        quant_format=QuantFormat.QDQ, activation_type=I16, weight_type=I16, per_channel=True
    ),
}
SMOOTH = (
    "mobilenet_v3", "efficientnet_b0", "convnext", "vit_b", "deit_s", "swin", "lraspp",
    "sound_lstm", "sound_gru", "volume",
)  # fmt: skip
# Where ReLUs follow the feature layer itself.
ROUGH = {"unet_transposed": 0.85, "unet_resize": 0.85, "detector": 0.95}
QUICK = {("resnet50", "fine"), ("mobilenet_v3", "operators")}
CASES = [
    pytest.param(
        name, way, id=f"{name}-{way}",
        marks=[] if (name, way) in QUICK else [pytest.mark.exhaustive],
    )
    for name in ARCHITECTURES
    for way in WAYS
    if not ARCHITECTURES[name].words
]  # fmt: skip


@pytest.mark.parametrize(("name", "way"), CASES)
def test_gradients_against_the_float_network(name: str, way: str, tmp_path: Path) -> None:
    plain, model, x = _quantised(name, way, tmp_path)
    feature = _stored_feature(model)
    shape = run(plain, {INPUT: x}, [OUTPUT])[OUTPUT].shape
    ct = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    a, b = (
        run(vjp_model(m, [INPUT, t], [OUTPUT]), {INPUT: x, f"ct::{OUTPUT}": ct})
        for m, t in ((plain, FEATURE), (model, feature))
    )
    at_input = _alike(a[f"grad::{INPUT}"], b[f"grad::{INPUT}"])
    at_feature = _alike(a[f"grad::{FEATURE}"], b[f"grad::{feature}"])
    if way == "fine":
        assert min(at_input, at_feature) > 0.998
        return
    assert at_feature > ROUGH.get(name, 0.98)
    assert at_input > (0.98 if name in SMOOTH else 0.7)


class _Samples(CalibrationDataReader):
    def __init__(self, samples: list[np.ndarray]) -> None:
        self.left = [{INPUT: x} for x in samples]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def _quantised(name: str, way: str, folder: Path) -> tuple[ModelProto, ModelProto, np.ndarray]:
    """Return a network, the same quantised, and an input within the range of calibration."""
    architecture = ARCHITECTURES[name]
    net = calibrated(architecture.small(), inputs(architecture, 8)).eval()
    source, ready, out = (folder / f"{stage}.onnx" for stage in ("source", "ready", "out"))
    onnx.save(export(net, inputs(architecture, 2), dynamo=False), source)
    x, *others = (inputs(architecture, 3, seed=seed).numpy() for seed in (5, 0, 1, 2, 3))
    logging.disable(logging.WARNING)  # the quantiser's own, about its defaults
    try:
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        quantize_static(str(ready), str(out), _Samples([1.3 * x, *others]), **WAYS[way])
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(ready), onnx.load(out), x


def _stored_feature(model: ModelProto) -> str:
    """Return the tensor on the path that the quantiser made of the feature: integers, mostly."""
    makers = {o: n for n in model.graph.node for o in n.output}
    known = [f"{FEATURE}_DequantizeLinear_Output", f"{FEATURE}_quantized"]
    found = next((name for name in known if name in makers), None)
    if found is None and makers[FEATURE].op_type == "DequantizeLinear":
        found = makers[FEATURE].input[0]
    return found or FEATURE


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


DENSE = ("unet_transposed", "unet_resize", "lraspp", "detector")  # have no class to explain
SHOWN = {("vgg16", "pairs"), ("vit_b", "operators")}
MAPS = [
    pytest.param(
        name, way, id=f"{name}-{way}",
        marks=[] if (name, way) in SHOWN else [pytest.mark.exhaustive],
    )
    for name in ARCHITECTURES
    for way in ("pairs", "operators")
    if name not in DENSE and not ARCHITECTURES[name].words
]  # fmt: skip


@pytest.mark.parametrize(("name", "way"), MAPS)
def test_the_same_layer_is_explained_as_in_the_float_network(
    name: str, way: str, tmp_path: Path
) -> None:
    """A ReLU that is fused into a rounding, class tokens and grids are found all the same."""
    plain, model, x = _quantised(name, way, tmp_path)
    for each in (plain, model):
        del each.graph.output[1:]
    exact, rough = (Explainer(m, device="cpu", threads=1) for m in (plain, model))
    alike = []
    for i in range(len(x)):
        a = exact(x[i : i + 1])
        b = rough(x[i : i + 1], a.target)
        assert a.signed_map.shape == b.signed_map.shape
        alike.append(_alike(a.signed_map, b.signed_map))
    assert np.median(alike) > 0.98 if name != "vgg16" else np.median(alike) > 0.8
    known = (exact.feature.layout, rough.feature.layout)
    assert known[0] is not None and known[0] == known[1]
