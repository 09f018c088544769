"""Half precision: what is compared is equal for ONNX Runtime too, and a real float16 file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from architectures import ARCHITECTURES
from architectures.export import FEATURE, INPUT, OUTPUT, export
from architectures.weights import calibrated, inputs
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image
from support.evaluate import run as run_in_double
from support.gradcheck import check_gradient, run
from support.half import in_half
from support.variants import graph_model, in_double

from onnxcam.autodiff import vjp_model

HALF = np.float16
# The operators behind a convolution that compare values, and what else they take.
AFTER = {
    "windows that overlap": ("MaxPool", {}, dict(kernel_shape=[3, 3], strides=[2, 2])),
    "blocks": ("MaxPool", {}, dict(kernel_shape=[2, 2], strides=[2, 2])),
    "windows apart": ("MaxPool", {}, dict(kernel_shape=[3, 3], strides=[4, 4])),
    "global": ("GlobalMaxPool", {}, {}),
    "ReduceMax": ("ReduceMax", {"axes": np.array([2, 3])}, {}),
    "ReduceMin, not kept": ("ReduceMin", {"axes": np.array([1])}, dict(keepdims=0)),
    "Max": ("Max", {"b": np.linspace(-2, 2, 8, dtype=HALF)}, {}),
    "Min": ("Min", {"b": np.linspace(2, -2, 8, dtype=HALF)}, {}),
    "Clip": ("Clip", {"low": np.array(-0.5, HALF), "high": np.array(0.5, HALF)}, {}),
    "Relu": ("Relu", {}, {}),
    "scatter": (
        "ScatterElements",
        {"at": np.array([[[[1, 5]]]]), "u": np.zeros((1, 1, 1, 2), HALF)},
        dict(axis=3, reduction="max"),
    ),
}


def _behind_a_convolution(key: str) -> tuple[ModelProto, dict[str, np.ndarray]]:
    op_type, constants, attributes = AFTER[key]
    rng = np.random.default_rng(1)
    weights = {"w": (rng.standard_normal((4, 3, 3, 3)) / 4).astype(HALF), **constants}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(op_type, ["c", *constants], ["m"], **attributes),
        helper.make_node("Mul", ["m", "m"], ["y"]),
    ]
    feeds = {"x": rng.standard_normal((1, 3, 8, 8)).astype(HALF)}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT16, feeds["x"].shape)
    return graph_model(nodes, [x], ["y"], initializers=weights), feeds


@pytest.mark.parametrize("key", AFTER)
def test_what_compares_values_finds_them_behind_a_convolution(key: str):
    model, feeds = _behind_a_convolution(key)
    assert check_gradient(model, feeds).runtime


# ---- whole networks

QUICK = ("vgg16", "mobilenet_v3", "unet_resize", "vit_b")
NAMES = [n for n, a in ARCHITECTURES.items() if not a.words]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.exhaustive]) for n in NAMES],
)
def test_networks_in_float16_have_their_gradient_in_double(name: str):
    architecture = ARCHITECTURES[name]
    net = calibrated(architecture.small(), inputs(architecture, 8)).eval()
    model = in_half(export(net, inputs(architecture, 2), dynamo=False))
    grad = vjp_model(model, [INPUT, FEATURE], [OUTPUT])
    x = inputs(architecture, 3, seed=5).numpy().astype(HALF)
    shape = run(model, {INPUT: x}, [OUTPUT])[OUTPUT].shape
    ct = np.random.default_rng(0).standard_normal(shape).astype(HALF)
    names = [f"grad::{INPUT}", f"grad::{FEATURE}"]
    got = run(grad, {INPUT: x, f"ct::{OUTPUT}": ct}, names)
    feeds = {INPUT: x.astype(float), f"ct::{OUTPUT}": ct.astype(float)}
    for key, want in zip(names, run_in_double(in_double(grad), feeds, names), strict=True):
        assert got[key].dtype == HALF
        assert _alike(got[key], want) > 0.9998, key


# ---- a real float16 classifier, against itself in single precision

SCORES, PICTURES = "pool10_1", 2
LAYERS = ["data_0", "conv1_2", "fire3/concat_1", "fire5/concat_1", "pool5_1", "fire9/concat_1"]


@pytest.fixture(scope="module")
def squeezenet(shared_models: Path) -> ModelProto:
    return onnx.load(shared_models / "squeezenet_fp16_winml_caffe2.onnx")


@pytest.fixture(scope="module")
def pictures(shared_images: Path) -> list[np.ndarray]:
    found = []
    for path in sorted(shared_images.glob("*.jpg"))[:PICTURES]:
        picture = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture)[:, :, ::-1] - np.array([103.939, 116.779, 123.68])
        found.append(pixels.transpose(2, 0, 1)[None].astype(HALF))
    return found


def _in_single(model: ModelProto) -> ModelProto:
    out = onnx.ModelProto()
    out.CopyFrom(model)
    for info in [*out.graph.input, *out.graph.output, *out.graph.value_info]:
        info.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in out.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            value = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return out


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1])


def test_a_float16_file_has_the_gradient_that_its_precision_permits(squeezenet, pictures):
    """As like the single precision's as that is to itself one step of a float16 further."""
    half, single = (vjp_model(m, LAYERS, [SCORES]) for m in (squeezenet, _in_single(squeezenet)))
    for x in pictures:
        ct = np.zeros((1, 1000, 1, 1), np.float32)
        plain = {"data_0": x.astype(np.float32), f"ct::{SCORES}": ct}
        ct[0, run(single, plain, ["softmaxout_1"])["softmaxout_1"].argmax()] = 1
        moved = {**plain, "data_0": np.nextafter(x, HALF(np.inf)).astype(np.float32)}
        got = run(half, {"data_0": x, f"ct::{SCORES}": ct.astype(HALF)})
        want, other = run(single, plain), run(single, moved)
        for name in (f"grad::{layer}" for layer in LAYERS):
            alike, permitted = _alike(want[name], got[name]), _alike(want[name], other[name])
            assert alike > min(0.9998, permitted - 5e-4), name
            assert np.linalg.norm(got[name].astype(float)) == pytest.approx(
                np.linalg.norm(want[name]), rel=0.01
            )
        assert _alike(want["grad::fire9/concat_1"], got["grad::fire9/concat_1"]) > 0.99999
        assert _alike(want["grad::data_0"], got["grad::data_0"]) > 0.998
