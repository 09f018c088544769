"""Explanations of models that onnxruntime's quantiser made: the float model's, nearly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, numpy_helper, parser
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image
from support import nets
from support.gradcheck import run

import onnxcam
from onnxcam import Explainer
from onnxcam.analysis import layers
from onnxcam.errors import UsageError
from onnxcam.graph.contrib import cuts_at_zero, scale_of
from onnxcam.model.draft import Draft
from onnxcam.model.model import load

QDQ, OPERATORS = QuantFormat.QDQ, QuantFormat.QOperator
U8, I8 = QuantType.QUInt8, QuantType.QInt8
WAYS: dict[str, dict[str, Any]] = {
    "qdq-uint8-per-channel": dict(quant_format=QDQ, activation_type=U8, per_channel=True),
    "qdq-int8": dict(quant_format=QDQ, activation_type=I8),
    "operators-uint8": dict(quant_format=OPERATORS, activation_type=U8, weight_type=U8),
    "operators-int8-per-channel": dict(
        quant_format=OPERATORS, activation_type=I8, per_channel=True
    ),
}


class _Samples(CalibrationDataReader):
    def __init__(self, name: str, samples: list[np.ndarray]) -> None:
        self.left = [{name: x} for x in samples]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def _quantized(
    source: Path, folder: Path, name: str, samples: list[np.ndarray], way: str
) -> ModelProto:
    ready, out = folder / "ready.onnx", folder / f"{way}.onnx"
    quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
    quantize_static(str(ready), str(out), _Samples(name, samples), **WAYS[way])
    return onnx.load(out)


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# ---- a small one: what the map is made of


@pytest.fixture
def batch() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(8, 2, 6, 6)).astype("f4")


@pytest.mark.parametrize("way", WAYS)
def test_feature_gradient_and_map(way: str, batch: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "float.onnx").write_bytes(nets.cnn().SerializeToString())
    wide = 1.5 * batch[:, None]  # a logit beyond the calibrated range has no gradient
    model = _quantized(tmp_path / "float.onnx", tmp_path, "x", [*wide], way)
    kinds = {n.op_type for n in model.graph.node}
    assert ("QLinearConv" in kinds) == way.startswith("operators")
    found = {}
    for name, proto in (("float", nets.cnn()), ("quantised", model)):
        made = onnxcam.convert(proto, target=[0, 2], expose=["feature", "gradient"])
        assert made.check is not None and made.check.plain == 0
        found[name] = run(made.proto, {"x": batch})
    a, b = found["float"], found["quantised"]
    for output in ("feature", "gradient", "map"):
        want, got = a[f"onnxcam.{output}"], b[f"onnxcam.{output}"]
        assert got.dtype == np.float32 and got.shape == want.shape
        assert np.abs(got - want).max() < 0.05 * np.abs(want).max(), output
    assert made.explained.gradient.startswith("straight-through")


def test_integers_are_layers_where_the_model_computes_with_them(
    batch: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "float.onnx").write_bytes(nets.cnn().SerializeToString())
    samples = [*batch[:, None]]
    model = _quantized(tmp_path / "float.onnx", tmp_path, "x", samples, "operators-uint8")
    found = layers.catalog(load(model))
    assert found.feature is not None and found.feature.op == "QLinearConv"
    assert "QuantizeLinear" not in {c.op for c in found.candidates}
    with pytest.raises(UsageError, match="CAM needs global average pooling"):
        Explainer(model, "cam")
    model = _quantized(tmp_path / "float.onnx", tmp_path, "x", samples, "qdq-int8")
    kinds = {c.op for c in layers.catalog(load(model)).candidates}
    assert "DequantizeLinear" in kinds and "QuantizeLinear" not in kinds


@pytest.mark.parametrize("moved", [False, True], ids=["", "moved"])
@pytest.mark.parametrize("way", ["qdq-int8", "operators-uint8"])
def test_a_class_surer_than_in_calibration_keeps_its_map(
    way: str, moved: bool, batch: np.ndarray, tmp_path: Path
) -> None:
    """Its logit stands at the end of the range, where a rounding has no gradient."""
    exact = nets.cnn()
    if moved:
        _append_moves(exact)
    (tmp_path / "float.onnx").write_bytes(exact.SerializeToString())
    model = _quantized(tmp_path / "float.onnx", tmp_path, "x", [*(0.9 * batch[:, None])], way)
    a, b = (Explainer(m, device="cpu", threads=1) for m in (exact, model))
    x = batch[[np.argmax([a(x[None]).score for x in batch])]]
    want = a(x)
    got = b(x, want.target)
    assert got.score < want.score and b(0.97 * x, want.target).score == got.score
    assert not got.diagnosis
    assert _alike(got.signed_map, want.signed_map) > 0.95
    assert got.gradient.startswith("straight-through")
    made = onnxcam.convert(model)
    assert made.check is not None and made.check.plain == 0
    used = {i for n in made.proto.graph.node for i in n.input}
    used |= {o.name for o in made.proto.graph.output}
    assert all(used & set(n.output) for n in made.proto.graph.node), "dead nodes"


def _append_moves(model: ModelProto) -> None:
    """Give the logits two more axes and take one away again."""
    nodes = [
        onnx.helper.make_node("Unsqueeze", ["logits", "axes"], ["tall"]),
        onnx.helper.make_node("Flatten", ["tall"], ["flatter"]),
    ]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3]), "axes"))
    model.graph.output[0].name = "flatter"


def test_moved_integers_stand_for_the_same_reals() -> None:
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
      g (float[1,1,4,4] x) => (float[1,1,2,2] y)
        <float s = {0.5}, uint8 z = {3}, float t = {0.25}, uint8 o = {7}, uint8[1,1,1,1] w = {9}> {
          q = QuantizeLinear (x, s, z)
          c = QLinearConv (q, s, z, w, s, z, t, o)
          m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
          y = DequantizeLinear (m, t, o) }""")
    draft = Draft(load(model))
    for name in "cm":
        found = scale_of(draft.tensor(name))
        assert found is not None and found.zero is not None
        assert (found.scale.name, found.zero.name) == ("t", "o")
    assert [scale_of(draft.tensor(name)) for name in "xqy"] == [None] * 3


@pytest.mark.parametrize(
    ("zero", "body", "cuts"),
    [
        (0, "y = QuantizeLinear (c, s, z)", True),
        (1, "y = QuantizeLinear (c, s, z)", False),
        (0, "p = AveragePool <kernel_shape = [2, 2]> (c) y = QuantizeLinear (p, s, z)", False),
        (0, "q = QuantizeLinear (x, s, z) y = QLinearConv (q, s, z, v, s, z, s, z)", True),
        (0, "q = QuantizeLinear (x, s, o) y = QLinearConv (q, s, o, v, s, o, s, o)", False),
    ],
)
def test_a_range_that_begins_at_zero_is_a_relu(zero: int, body: str, cuts: bool) -> None:
    model = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["": 20]>
      g (float[1,1,4,4] x) => (uint8[a,b,c,d] y)
        <float s = {{0.5}}, uint8 z = {{{zero}}}, uint8 o = {{7}},
         float[1,1,1,1] w = {{9.0}}, uint8[1,1,1,1] v = {{9}}> {{ c = Conv (x, w) {body} }}""")
    (node,) = Draft(load(model)).tensor("y").inputs
    assert cuts_at_zero(node) == cuts


# ---- a real one


@pytest.fixture(scope="module")
def pictures(shared_images: Path) -> list[np.ndarray]:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    found = []
    for path in sorted(shared_images.glob("*.jpg"))[:4]:
        picture = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        pixels = (np.asarray(picture) / 255 - mean) / std
        found.append(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    return found


@pytest.mark.parametrize(
    "way",
    [
        "operators-uint8",
        pytest.param("qdq-uint8-per-channel", marks=pytest.mark.exhaustive),
        pytest.param("qdq-int8", marks=pytest.mark.exhaustive),
        pytest.param("operators-int8-per-channel", marks=pytest.mark.exhaustive),
    ],
)
def test_the_maps_of_a_real_classifier(
    way: str, shared_models: Path, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    source = shared_models / "mobilenetv2_torch_legacy.onnx"
    model = _quantized(source, tmp_path, "input", pictures, way)
    exact, rough = (Explainer(m, device="cpu", threads=1) for m in (source, model))
    alike = []
    for x in pictures[:3]:
        a = exact(x)
        alike.append(_alike(a.signed_map, rough(x, a.target).signed_map))
    assert min(alike) > 0.97 and np.mean(alike) > 0.98


def test_a_pool_behind_an_int8_layer_lends_its_places() -> None:
    """Its indices are integers: no copy of reals, which ONNX could not write of them."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
      g (float[1,1,8,8] x) => (float[1,3] y)
      <float s = {0.02}, uint8 z = {0}, float[4,1,3,3] w, float[16,3] v, int64[2] flat = {1, 16}> {
      c = Conv <pads = [1, 1, 1, 1]> (x, w) q = QuantizeLinear (c, s, z)
      d = DequantizeLinear (q, s, z) p = MaxPool <kernel_shape = [3, 3], strides = [3, 3]> (d)
      r = Reshape (p, flat) y = MatMul (r, v) }""")
    rng = np.random.default_rng(0)
    for name, shape in {"w": (4, 1, 3, 3), "v": (16, 3)}.items():
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    del model.graph.value_info[:]
    x = rng.normal(size=(1, 1, 8, 8)).astype(np.float32)
    made = onnxcam.convert(
        model, runtime_targets=True, upsampling="none", expose=["gradient"]
    ).proto  # the maps are made in a subgraph
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (gradient,) = session.run(["onnxcam.gradient"], {"x": x})
    assert (gradient != 0).sum() == 16  # one place of each window
