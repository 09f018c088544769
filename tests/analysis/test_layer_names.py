"""Layers by the names that people know: tensors, nodes, and the modules of the exporter."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from architectures import ARCHITECTURES
from architectures.export import export
from onnx import helper
from support import nets

from onnxcam import Explainer
from onnxcam.analysis.layers import catalog
from onnxcam.analysis.layers.modules import Origin, matching
from onnxcam.errors import UsageError
from onnxcam.model.model import load


def _named(*names: str, scopes: bool = False) -> onnx.ModelProto:
    """Return Conv, Relu, Conv, Relu, pool, Gemm under such names: of nodes, or in metadata."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["t0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["t0"], ["t1"]),
        helper.make_node("Conv", ["t1", "v"], ["t2"]),
        helper.make_node("Relu", ["t2"], ["t3"]),
        helper.make_node("ReduceMean", ["t3", "axes"], ["t4"], keepdims=0),
        helper.make_node("Gemm", ["t4", "fc"], ["y"]),
    ]
    for node, name in zip(nodes, names, strict=True):
        if scopes:
            entry = node.metadata_props.add()
            entry.key, entry.value = "pkg.torch.onnx.name_scopes", name
        else:
            node.name = name
    weights = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype("f4"),
        "v": rng.normal(size=(4, 4, 1, 1)).astype("f4"),
        "fc": rng.normal(size=(4, 5)).astype("f4"),
        "axes": np.array([2, 3]),
    }
    return nets.model(nodes, {"x": ["N", 3, 6, 6]}, {"y": ["N", 5]}, weights)


LEGACY = (
    "/features/features.0/Conv", "/features/features.1/Relu",
    "/features/features.2/features.2.0/Conv", "/features/features.2/features.2.1/Relu",
    "/ReduceMean", "/fc/Gemm",
)  # fmt: skip
DYNAMO = (
    "['', 'features', 'features.0', 'conv2d']", "['', 'features', 'features.1', 'relu']",
    "['', 'features', 'features.2', 'features.2.0', 'conv2d_1']",
    "['', 'features', 'features.2', 'features.2.1', 'relu_1']", "['', 'mean']",
    "['', 'fc', 'linear']",
)  # fmt: skip
KERAS = (
    "model/conv2d/Conv2D", "model/re_lu/Relu", "model/block/conv2d_1/Conv2D",
    "model/block/re_lu_1/Relu", "model/mean/Mean", "model/dense/MatMul",
)  # fmt: skip


@pytest.mark.parametrize(
    ("names", "name", "layer"),
    [
        (LEGACY, "t1", "t1"),
        (LEGACY, "/features/features.1/Relu", "t1"),
        (LEGACY, "features/features.1/Relu", "t1"),
        (LEGACY, "features.1", "t1"),
        (LEGACY, "features.2", "t3"),
        (LEGACY, "features.2.0", "t2"),
        (LEGACY, "/features/features.2", "t3"),
        (LEGACY, "features", "t3"),
        (DYNAMO, "features.1", "t1"),
        (DYNAMO, "features.2", "t3"),
        (DYNAMO, "features", "t3"),
        (DYNAMO, "2.0", "t2"),
        (KERAS, "conv2d", "t0"),
        (KERAS, "re_lu_1", "t3"),
        (KERAS, "model/block", "t3"),
        (KERAS, "block", "t3"),
        (KERAS, "model/re_lu/Relu", "t1"),
    ],
)
def test_every_name_finds_the_layer(names: tuple[str, ...], name: str, layer: str) -> None:
    proto = _named(*names, scopes=names is DYNAMO)
    assert catalog(load(proto)).find(name).name == layer
    x = np.ones((1, 3, 6, 6), "f4")
    explain = Explainer(proto, feature_layer=name, cache=False)
    want = Explainer(proto, feature_layer=layer, cache=False)
    np.testing.assert_array_equal(explain(x, 1).raw_map, want(x, 1).raw_map)


@pytest.mark.parametrize("names", [LEGACY, DYNAMO])
def test_a_module_names_the_score_too(names: tuple[str, ...]) -> None:
    model = load(_named(*names, scopes=names is DYNAMO))
    assert catalog(model, reduction_layer="fc").reduction.name == "y"


@pytest.mark.parametrize("names", [LEGACY, DYNAMO])
def test_a_module_without_positions_says_why(names: tuple[str, ...]) -> None:
    found = catalog(load(_named(*names, scopes=names is DYNAMO)))
    with pytest.raises(UsageError, match=r"'fc' \('y'\) cannot be the feature layer"):
        found.find("fc")


def test_close_names_are_offered() -> None:
    found = catalog(load(_named(*LEGACY)))
    with pytest.raises(UsageError, match=r"no feature layer 'feature\.2'.*'features\.2\.1'"):
        found.find("feature.2")
    with pytest.raises(UsageError, match="no feature layer"):
        found.find("/")


def test_the_end_of_several_modules_is_ambiguous() -> None:
    known = {"a": Origin(module="layer1.0.conv1"), "b": Origin(module="layer2.0.conv1")}
    assert matching("layer2.0.conv1", known) == ["b"]
    assert matching("layer1", known) == ["a"]
    with pytest.raises(UsageError, match=r"2 modules.*layer1\.0\.conv1, layer2\.0\.conv1"):
        matching("conv1", known)


def test_two_names_of_one_layer_are_one_map() -> None:
    explain = Explainer(_named(*LEGACY), feature_layer=["features.1", "t1"], cache=False)
    assert [m.feature.name for m in explain.maps] == ["t1"]


@pytest.mark.parametrize(
    "name", ["resnet50", pytest.param("mobilenet_v2", marks=pytest.mark.exhaustive)]
)
def test_both_exporters_of_torch_leave_the_same_paths(name: str) -> None:
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    net, x = architecture.small().eval(), torch.randn(2, *architecture.shape)
    found = [
        catalog(load(export(net, x, dynamo=dynamo, feature=False))) for dynamo in (False, True)
    ]
    layers = [
        {path: c.find(path) for path in ("net.body", "body", "net.body.3", "body.3")} for c in found
    ]
    for path in layers[0]:
        assert layers[0][path].shape == layers[1][path].shape
        assert layers[0][path].op == layers[1][path].op
    for c, by_path in zip(found, layers, strict=True):
        assert c.feature is not None
        assert by_path["body"] == by_path["net.body"] == c.feature


# The module whose output an expert names: the last block of a CNN, the norm before the last
# attention of a ViT with a class token, Swin's last norm, a decoder's end, a detector's trunk.
EXPERTS = {
    "mobilenet_v3": "body", "efficientnet_b0": "body", "densenet121": "body", "googlenet": "body",
    "convnext": "body", "vit_b": "head.0.0.f.0", "deit_s": "head.0.0.f.0", "swin": "head.0",
    "unet_resize": "join.1", "detector": "stages.0",
}  # fmt: skip
_LONG = pytest.mark.exhaustive  # exporting by dynamo takes seconds


@pytest.mark.parametrize(
    ("name", "dynamo"),
    [
        *((name, False) for name in EXPERTS),
        ("mobilenet_v3", True),
        *(pytest.param(name, True, marks=_LONG) for name in ("vit_b", "swin")),
    ],
)
def test_the_default_is_what_an_expert_names(name: str, dynamo: bool) -> None:
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    net, x = architecture.small().eval(), torch.randn(2, *architecture.shape)
    found = catalog(load(export(net, x, dynamo=dynamo, feature=False)))
    assert found.feature is not None
    assert found.find(f"net.{EXPERTS[name]}").name == found.feature.name
    assert not found.warnings
