"""What cannot be asked of a model: each error says what is expected, with shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer, InputError, OnnxcamError, UsageError
from onnxcam.targets import At, Box, Detections, Finer, Keypoint, Margin, Region, Similarity

X = np.ones((1, 3, 6, 8), "f4")
RNG = np.random.default_rng(0)


def _segmenter() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["y"]),
    ]
    weights = {
        "w": RNG.normal(size=(4, 3, 3, 3)).astype("f4"),
        "v": RNG.normal(size=(4, 4, 1, 1)).astype("f4"),
    }
    return nets.model(nodes, {"x": ["N", 3, 6, 8]}, {"y": ["N", 4, 6, 8]}, weights)


def _beside() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Concat", ["f", "facts"], ["j"], axis=1),
        helper.make_node("MatMul", ["j", "v"], ["y"]),
    ]
    weights = {
        "w": RNG.normal(size=(4, 3, 3, 3)).astype("f4"),
        "v": RNG.normal(size=(6, 4)).astype("f4"),
    }
    return nets.model(nodes, {"x": ["N", 3, 6, 8], "facts": ["N", 2]}, {"y": ["N", 4]}, weights)


def _made(**options: Any) -> Explainer[Any]:
    return Explainer(_segmenter(), device="cpu", threads=1, **options)


Case = tuple[Callable[[], Any], type[OnnxcamError], str]
TARGETS: dict[str, Case] = {
    "another mask": (lambda: Region(1, np.ones((4, 4))), UsageError, r"\[4, 4\].*\[6, 8\]"),
    "a mask of three axes": (lambda: Region(1, np.ones((6, 8, 1))), UsageError, r"\[6, 8, 1\]"),
    "an empty mask": (lambda: Region(1, np.zeros((6, 8))), UsageError, "empty"),
    "no such region": (lambda: Region(1, "front"), UsageError, "'predicted', or give a mask"),
    "no such class": (lambda: Region(9), UsageError, "4 classes: 0 to 3"),
    "no such box": (lambda: Box(99), UsageError, "no box 99.*0 to 47"),
    "a box below 0": (lambda: Box(-1), UsageError, "from 0"),
    "another embedding": (lambda: Similarity(np.ones(7)), UsageError, r"\[7\].*\['N', 4\]"),
    "no such place": (lambda: At((1, 2, 3), 0), UsageError, r"\[1, 2, 3\].*\[6, 8\]"),
    "a place too far": (lambda: At((6, 2), 0), UsageError, r"\[6, 2\].*\[6, 8\]"),
    "no margin": (lambda: Margin(1, 1), UsageError, "two classes"),
    "too many others": (lambda: Finer(1, 9), UsageError, "4 classes"),
    "not reduced": (lambda: lambda y: y, UsageError, r"\['N', 4, 6, 8\].*\[N\]"),
    "a map": (lambda: lambda y: y[:, 0], UsageError, r"\['N', 6, 8\].*\[N\]"),
    "over inputs": (lambda: lambda y: y.mean(axis=0), UsageError, r"\[4, 6, 8\].*\[N\]"),
    "not traceable": (lambda: lambda y: float(y[0, 0, 0, 0]), UsageError, "float()"),
    "no target": (object, UsageError, "type object is no class"),
    "a mapping": (lambda: {"cat": 1}, UsageError, "type dict is no class"),
    "nothing": (list, UsageError, "no target is given"),
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_that_is_none(name: str) -> None:
    target, kind, said = TARGETS[name]
    explainer = _made()
    with pytest.raises(kind, match=said):
        explainer(X, target())


def test_all_boxes_of_what_has_none() -> None:
    """Not that a file cannot hold them: who asks has written none."""
    with pytest.raises(UsageError, match="have no positions"):
        Explainer(_beside(), device="cpu")(X, Detections(), extra_inputs={"facts": np.ones((1, 2))})


def test_key_points_of_classes() -> None:
    """A softmax makes classes, which are no coordinates however even their number is."""
    node = helper.make_node("Softmax", ["y"], ["prob"])
    proto = _beside()
    proto.graph.node.append(node)
    proto.graph.output[0].name = "prob"
    with pytest.raises(UsageError, match=r"\['N', 4\].*classes"):
        Explainer(proto, device="cpu")(X, Keypoint(1), extra_inputs={"facts": np.ones((1, 2))})


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "class axis": ({"class_axis": 7}, r"7 is out of range.*\[N, 4, 6, 8\].*0 to 3"),
    "input": ({"input": "z"}, r"no input 'z'. It depends on 'x' \['N', 3, 6, 8\]"),
    "format": ({"input_format": "NHW"}, "3 axes, and 'x' has 4"),
    "letters": ({"input_format": "NQHW"}, "letter an axis"),
    "layer": ({"feature_layer": "rr"}, "'r'"),
    "scores": ({"reduction_layer": "yy"}, "'y'"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_does_not_fit(name: str) -> None:
    options, said = OPTIONS[name]
    with pytest.raises(UsageError, match=said):
        _made(**options)


INPUTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "missing": (X, {}, r"'facts' float32\['N', 2\]"),
    "unknown": (X, {"fact": np.ones((1, 2), "f4")}, "no input 'fact'.*'facts'"),
    "far off": (X, {"z": np.ones((1, 2), "f4")}, r"'x' \['N', 3, 6, 8\], 'facts' \['N', 2\]"),
    "other batch": (np.repeat(X, 2, 0), {"facts": np.ones((3, 2), "f4")}, "3 rows, and 'x' 2"),
    "other batch of a list": ([X, X], {"facts": np.ones((3, 2), "f4")}, "3 rows, and 'x' 2"),
    "other size": (X, {"facts": np.ones((1, 3), "f4")}, r"takes \[N, 2\], and is given \[1, 3\]"),
    "no batch": (X, {"facts": np.ones(2, "f4")}, r"takes \[N, 2\], and is given \[2\]"),
    "text": (X, {"facts": "abc"}, "takes float32, and is given"),
    "channels": (np.ones((1, 4, 6, 8), "f4"), {}, r"\[1, 4, 6, 8\].*\[N, 3, 6, 8\]"),
    "channels last": (np.ones((6, 8, 3), "f4"), {}, r"\[1, 6, 8, 3\].*\[N, 3, 6, 8\]"),
    "none": (None, {}, "type NoneType"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_that_do_not_fit(name: str) -> None:
    x, others, said = INPUTS[name]
    explainer = Explainer(_beside(), device="cpu", threads=1)
    with pytest.raises((InputError, UsageError), match=said):
        explainer(x, extra_inputs=others)
