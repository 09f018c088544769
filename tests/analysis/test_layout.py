"""Axes are read off the graph: through transposes, reshapes, tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam.analysis.layout import Layout, layouts
from onnxcam.model.draft import Draft
from onnxcam.model.model import load

W = {"w": np.ones((8, 3, 4, 4), "f4")}


def _found(
    nodes: list[Any], shapes: dict[str, list[Any]], outputs: Any, weights: Any = None
) -> Any:
    draft = Draft(load(nets.model(nodes, shapes, outputs, {**W, **(weights or {})})))
    known = layouts(draft.graph)
    tensors = {**draft.graph.tensors(), **{t.name: t for t in draft.graph.inputs}}
    return lambda name: known.get(id(tensors[name]))


def _patches(batch: Any) -> Any:
    """A patch embedding as ViT has it, with one class token before 2 x 3 patches."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["patches"], strides=[4, 4]),
        helper.make_node("Reshape", ["patches", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["cls", "tokens"], ["all"], axis=1),
        helper.make_node("Add", ["all", "pos"], ["y"]),
        helper.make_node("Slice", ["y", "one", "end", "one"], ["spatial"]),
    ]
    weights = {
        "shape": np.array([0 if batch == "N" else batch, 8, 6]),
        "cls": np.zeros((1, 1, 8), "f4"),
        "pos": np.zeros((1, 7, 8), "f4"),
        "one": np.array([1]),
        "end": np.array([7]),
    }
    if batch == "N":
        weights["cls"] = np.zeros((1, 1, 8), "f4")
    return _found(
        nodes, {"x": [batch, 3, 8, 12]}, {"y": [batch, 7, 8], "spatial": [batch, 6, 8]}, weights
    )


def test_tokens_keep_their_grid_and_count_the_class_token() -> None:
    found = _patches(1)
    assert found("patches") == Layout("NCHW")
    assert found("flat") == Layout("NCT", (2, 3))
    assert found("tokens") == Layout("NTC", (2, 3))
    assert found("all") == Layout("NTC", (2, 3), prefix=1)
    assert found("y") == Layout("NTC", (2, 3), prefix=1)
    assert found("spatial") == Layout("NTC", (2, 3), prefix=0)


@pytest.mark.parametrize(
    ("perm", "axes", "behind"),
    [
        ([0, 3, 1, 2], "NHWC", "NCHW"),
        ([0, 2, 3, 1], "NHCW", "NCWH"),
        ([0, 1, 3, 2], "NCHW", "NCWH"),
    ],
)
def test_layouts_go_back_to_the_input(perm: list[int], axes: str, behind: str) -> None:
    """Height and width are those of the input, whatever the convolution takes for which."""
    shape = [[2, 3, 8, 12][perm.index(i)] for i in range(4)]
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=1),
        helper.make_node("Transpose", ["c"], ["t"], perm=perm),
        helper.make_node("Conv", ["t", "w"], ["y"]),
    ]
    found = _found(nodes, {"x": shape}, {"y": [2, 8, 5, 9]})
    assert found("t") == Layout(behind)
    assert found("x") == Layout(axes)


def test_pooling_by_reduce_drops_the_axes() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("ReduceMean", ["y", "axes"], ["kept"], keepdims=1),
        helper.make_node("Squeeze", ["kept", "axes"], ["z"]),
    ]
    found = _found(nodes, {"x": [2, 3, 8, 12]}, {"z": [2, 8]}, {"axes": np.array([2, 3], np.int64)})
    assert found("kept") == Layout("NCHW")
    assert found("z") == Layout("NC")
    assert not found("z").known


def test_one_and_three_dimensions() -> None:
    for rank, axes in ((1, "NCW"), (3, "NCDHW")):
        w = np.ones((2, 3, *[1] * rank), "f4")
        nodes = [helper.make_node("Conv", ["x", "k"], ["y"])]
        found = _found(nodes, {"x": [1, 3, *[4] * rank]}, {"y": [1, 2, *[4] * rank]}, {"k": w})
        assert found("x") == found("y") == Layout(axes)
