"""MATLAB's functions: maps against torch on the same weights, and the axes of what goes in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxcam
from onnxcam import Explainer, InputError, OnnxcamError, UsageError
from onnxcam.targets import Margin

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(11)


def _net(space: int, softmax: bool = True) -> tuple[onnx.ModelProto, Any]:
    """Return a classifier of signals, pictures or volumes, and its torch twin."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(space)
    conv = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[space - 1]
    body = torch.nn.Sequential(conv(2, 4, 3, stride=2, padding=1), torch.nn.ReLU())
    head = torch.nn.Linear(4, 3)
    values = {
        n: p.detach().numpy() for n, p in [*body.named_parameters(), *head.named_parameters()]
    }
    weights = {"w": values["0.weight"], "b": values["0.bias"]}
    weights.update(fc=head.weight.detach().numpy(), fcb=head.bias.detach().numpy())
    pads = {"pads": [1] * 2 * space, "strides": [2] * space}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], **pads),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc", "fcb"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["prob"], axis=1),
    ]
    output = "prob" if softmax else "logits"
    graph = helper.make_graph(
        nodes if softmax else nodes[:-1],
        "net",
        [helper.make_tensor_value_info("x", 1, ["N", 2, *[None] * space])],
        [helper.make_tensor_value_info(output, 1, ["N", 3])],
        [onnx.numpy_helper.from_array(v, n) for n, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model, (torch, body, head)


def _truth(twin: Any, x: np.ndarray, of: Any) -> np.ndarray:
    """Return Grad-CAM of torch's network, as its authors wrote it, at the layer's size."""
    torch, body, head = twin
    a = body(torch.tensor(x[None])).detach().requires_grad_()
    space = tuple(range(2, a.ndim))
    p = torch.softmax(head(a.mean(space)), 1)
    (slope,) = torch.autograd.grad(of(p).sum(), a)
    found = torch.relu((slope.mean(space, keepdim=True) * a).sum(1))[0]
    return np.asarray(found.detach())


SHAPES = {"sequence": (2, 9), "picture": (8, 6, 2), "volume": (6, 4, 5, 2)}
AXES = {"sequence": (0, 1), "picture": (2, 0, 1), "volume": (3, 0, 1, 2)}


@pytest.mark.parametrize("kind", SHAPES)
def test_the_map_is_torchs_in_the_axes_of_the_observation(kind: str) -> None:
    shape = SHAPES[kind]
    model, twin = _net(len(shape) - 1)
    x = RNG.normal(size=shape).astype("f4")
    options = {"execution_environment": "cpu", "output_upsampling": "none"}
    found, feature, reduction = onnxcam.grad_cam(model, x, 1, **options)  # type: ignore[arg-type]
    want = _truth(twin, x.transpose(AXES[kind]), lambda p: p[:, 1])
    want = want[None] if kind == "sequence" else want
    assert (feature, reduction) == ("relu", "prob")
    assert found.shape == want.shape and found.dtype == np.float32 and found.min() >= 0
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)

    both, *_ = onnxcam.grad_cam(model, x, [1, 2], **options)  # type: ignore[arg-type]
    assert both.shape == (*want.shape, 2)
    np.testing.assert_array_equal(both[..., 0], found)
    large, *_ = onnxcam.grad_cam(model, x, 1, output_upsampling="nearest")
    assert large.shape == ((1, shape[1]) if kind == "sequence" else shape[:-1])


def test_a_function_is_the_reduction() -> None:
    model, twin = _net(2)
    x = RNG.normal(size=(8, 6, 2)).astype("f4")
    want = _truth(twin, x.transpose(2, 0, 1), lambda p: p[:, 1] - 2 * p[:, 0])
    for function in (
        lambda p: p[:, 1] - 2 * p[:, 0],
        lambda p: p[0, 1] - 2 * p[0, 0],
        lambda op, p: op.Squeeze(op.MatMul(p, np.array([[-2], [1], [0]], "f4")), axes=[1]),
    ):
        found, *_ = onnxcam.grad_cam(model, x, function, output_upsampling="none")
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
    logits, _, reduction = onnxcam.grad_cam(
        model, x, [Margin(1, 0), lambda y: y.sum(axis=1)], reduction_layer="logits"
    )
    assert logits.shape == (8, 6, 2) and reduction == "logits"


FORMATS = {
    "SSC": lambda x: x,
    "CSS": lambda x: x.transpose(2, 0, 1),
    "SSCB": lambda x: x[..., None],
    "BSSC": lambda x: x[None],
    "SCS": lambda x: x.transpose(0, 2, 1),
    "USSC": lambda x: x[None],
}


def test_formats_say_what_axes_are() -> None:
    model, _ = _net(2)
    x = RNG.normal(size=(8, 6, 2)).astype("f4")
    want, *_ = onnxcam.grad_cam(model, x, 1)
    for letters, turn in FORMATS.items():
        for given in (letters, [letters], letters.lower()):
            found, *_ = onnxcam.grad_cam(model, turn(x), 1, input_data_formats=given)
            np.testing.assert_array_equal(found, want, err_msg=letters)
    series, _ = _net(1)
    s = RNG.normal(size=(2, 9)).astype("f4")
    want, *_ = onnxcam.grad_cam(series, s, 1)
    for letters, each in (("TC", s.T), ("CBT", s[:, None]), ("SC", s.T), ("BTC", s.T[None])):
        found, *_ = onnxcam.grad_cam(series, each, 1, input_data_formats=letters)
        np.testing.assert_array_equal(found, want)


def test_time_comes_before_space_in_a_clip_and_the_map_keeps_the_observations_order() -> None:
    model, twin = _net(3)
    x = RNG.normal(size=(6, 4, 2, 7)).astype("f4")  # h, w, c, t
    found, *_ = onnxcam.grad_cam(model, x, 0, input_data_formats="SSCT", output_upsampling="none")
    want = _truth(twin, x.transpose(2, 3, 0, 1), lambda p: p[:, 0]).transpose(1, 2, 0)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)


def test_the_last_layer_is_the_default_in_this_function_alone() -> None:
    model, _ = _net(2)
    assert onnxcam.grad_cam(model, np.ones((4, 4, 2), "f4"), 0)[2] == "prob"
    assert Explainer(model, device="cpu").catalog.reduction.name == "logits"
    plain, _ = _net(2, softmax=False)
    assert onnxcam.grad_cam(plain, np.ones((4, 4, 2), "f4"), 0)[2] == "logits"


def test_pixels_are_scaled_as_the_model_says_and_not_resized() -> None:
    from PIL import Image

    model = ROOT / "models" / "squeezenet1.1.onnx"
    x = np.asarray(Image.open(ROOT / "models" / "chelsea.png").convert("RGB").resize((224, 224)))
    found, feature, reduction = onnxcam.grad_cam(model, x, "Egyptian cat")
    ready = (x[..., ::-1] - np.array([103.939, 116.779, 123.68])).astype("f4")
    same, *_ = onnxcam.grad_cam(model, ready, 285)
    want = Explainer(model, reduction_layer="prob")(ready.transpose(2, 0, 1)[None], 285)
    np.testing.assert_allclose(found, want.map, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(same, want.map, rtol=1e-4, atol=1e-6)
    assert (feature, reduction) == ("relu_conv10", "prob")


REFUSED: dict[str, tuple[dict[str, Any], type[OnnxcamError], str]] = {
    "two channels": ({"X": np.ones((4, 4, 3), "f4")}, InputError, r"\[1, 3, 4, 4\]"),
    "two axes": ({"X": np.ones((2, 4), "f4")}, InputError, "1 channel|has shape"),
    "two many axes": ({"X": np.ones((4, 4, 4, 2), "f4")}, InputError, "3 axes of space"),
    "no format": ({"input_data_formats": "HWC"}, UsageError, "one letter an axis|One letter"),
    "short format": ({"input_data_formats": "SC"}, UsageError, "does not say"),
    "two at once": (
        {"X": np.ones((4, 4, 2, 2), "f4"), "input_data_formats": "SSCB"}, InputError, "2 obs",
    ),
    "text": ({"X": "cat.png"}, InputError, "no array of numbers"),
    "no upsampling": ({"output_upsampling": "linear"}, UsageError, "bicubic"),
    "no device": ({"execution_environment": "multi-gpu"}, UsageError, "cpu or gpu"),
    "no class": ({"target": 7}, UsageError, "out of range"),
    "no layer": ({"feature_layer": "rlu"}, UsageError, "relu"),
    "not scalar": ({"target": lambda y: y}, UsageError, r"\['N', 3\]"),
    "plain pixels": ({"X": np.ones((4, 4, 2), "u1")}, UsageError, "takes no pictures"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    model, _ = _net(2)
    options, kind, words = REFUSED[name]
    call = {"X": np.ones((4, 4, 2), "f4"), "target": 0, **options}
    with pytest.raises(kind, match=words):
        onnxcam.grad_cam(model, **call)


def test_occlusion_is_what_hiding_costs() -> None:
    """MATLAB's clipping: a window round every pixel of a stride, cut off at the borders."""
    model, twin = _net(2)
    torch, body, head = twin
    x = np.random.default_rng(0).normal(size=(8, 6, 2)).astype("f4")

    def prob(picture: np.ndarray) -> float:
        a = body(torch.tensor(picture.transpose(2, 0, 1)[None].copy()))
        return float(torch.softmax(head(a.mean((2, 3))), 1)[0, 1].detach())

    want = np.zeros((4, 3))
    for i, j in np.ndindex(4, 3):
        hidden = x.copy()
        hidden[max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2] = 0
        want[i, j] = prob(x) - prob(hidden)
    options: dict[str, Any] = {"mask_size": 3, "stride": 2, "output_upsampling": "none"}
    found = onnxcam.occlusion_sensitivity(model, x, 1, mask_value=0, **options)
    np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-6)
    inside = onnxcam.occlusion_sensitivity(model, x, [1, 0], mask_clipping=False, **options)
    assert inside.shape == (3, 2, 2)
    options |= {"mask_size": [3, 1], "stride": [1, 3]}
    own = onnxcam.occlusion_sensitivity(model, x, 1, mask_clipping=False, **options)
    hidden = x.copy()
    hidden[2:5, 3] = 0
    assert own.shape == (6, 2) and own[2, 1] == pytest.approx(prob(x) - prob(hidden), rel=1e-3)


def test_lime_and_d_rise_take_matlabs_names() -> None:
    model, _ = _net(2)
    x = np.random.default_rng(0).normal(size=(8, 6, 2)).astype("f4")
    found = onnxcam.image_lime(model, x, 1, num_features=6, num_samples=40, seed=3)
    assert found.shape == (8, 6) and np.abs(found).max() > 0
    few = {"num_samples": 30, "mask_probability": 0.5, "mask_resolution": 3}
    for target in (1, None):  # a classifier detects nothing
        with pytest.raises(UsageError, match="boxes of a detector|no positions"):
            onnxcam.d_rise(model, x, target, **few)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="num_superpixels"):
        onnxcam.image_lime(model, x, 1, num_superpixels=3)


def test_a_method_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = _net(2)
    monkeypatch.setattr(onnxcam.methods, "names", lambda *kind: ("gradcam", "rise"))
    with pytest.raises(UsageError, match="no method 'occlusion' in this version.*grad_cam"):
        onnxcam.occlusion_sensitivity(model, np.ones((8, 6, 2), "f4"), 0)


def test_bytes_and_files_are_nets(tmp_path: Path) -> None:
    model, _ = _net(2)
    x = RNG.normal(size=(8, 6, 2)).astype("f4")
    want, *_ = onnxcam.grad_cam(model, x, 0)
    held = io.BytesIO()
    onnx.save(model, held)
    (tmp_path / "net.onnx").write_bytes(held.getvalue())
    for net in (held.getvalue(), tmp_path / "net.onnx", str(tmp_path / "net.onnx")):
        np.testing.assert_array_equal(onnxcam.grad_cam(net, x, 0)[0], want)
