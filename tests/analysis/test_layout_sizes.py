"""Axes that a reshape keeps, joins and cuts; dimensions that are computed in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper, parser
from support import nets

from onnxcam.analysis.layers import catalog
from onnxcam.analysis.layout.groups import groups
from onnxcam.analysis.layout.sizes import refine
from onnxcam.model.draft import Draft
from onnxcam.model.model import load
from onnxcam.run.session import Session


@pytest.mark.parametrize(
    ("source", "target", "want"),
    [
        ("b 12 4 4", "b 12 u", [("0", "0"), ("1", "1"), ("23", "2")]),
        ("2 8 8 5", "2 2 4 2 4 5", [("0", "0"), ("1", "12"), ("2", "34"), ("3", "5")]),
        ("b 17 36", "b 17 3 2 6", [("0", "0"), ("1", "1"), ("2", "234")]),
        ("2 64 5", "2 8 8 5", [("0", "0"), ("1", "12"), ("2", "3")]),
        ("2 3 1 1", "2 3", [("0", "0"), ("1", "1"), ("23", "")]),
        ("2 3", "2 3 1", [("0", "0"), ("1", "1"), ("", "2")]),
        ("2 1 8", "2 8", [("0", "0"), ("1", ""), ("2", "1")]),
        ("2 6 4", "2 3 8", [("0", "0"), ("12", "12")]),
        ("b 8 8 4", "u 16 4", [("012", "01"), ("3", "2")]),
        ("5", "1 5", [("", "0"), ("0", "1")]),
    ],
)
def test_groups_of_axes(source: str, target: str, want: Any) -> None:
    def shape(text: str) -> list[Any]:
        return [int(d) if d.isdigit() else d for d in text.split()]

    found = [
        ("".join(map(str, a)), "".join(map(str, b)))
        for a, b in groups(shape(source), shape(target))
    ]
    assert found == want


def test_another_symbol_may_be_the_batch() -> None:
    whole = groups(["a", 16, 12], ["b", 4, 4, 12], batch=True)
    assert whole == [([0], [0]), ([1], [1, 2]), ([2], [3])]
    windows = groups(["a", 8, 8, 12], ["b", 16, 12], batch=True)  # the batch holds windows now
    assert windows[0] == ([0, 1, 2], [0, 1])


def _shapes(nodes: list[Any], shape: list[Any], weights: dict[str, Any], y: str, rank: int) -> Any:
    """The shape of y after refinement; the model states only its rank."""
    proto = nets.model(nodes, {"x": shape}, {y: [f"?{i}" for i in range(rank)]}, weights)
    for info in proto.graph.output:
        for dim in info.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")
    draft = Draft(load(proto))
    refine(draft.graph)
    return draft.tensor(y).shape


INT = {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "minus": np.array([-1])}


def test_a_flatten_by_its_shape() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two"], ["lead"]),
        helper.make_node("Concat", ["lead", "minus"], ["t"], axis=0),
        helper.make_node("Reshape", ["r", "t"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["y"], perm=[0, 2, 1]),
    ]
    assert _shapes(nodes, ["n", 12, 4, 5], INT, "y", 3) == ["n", 20, 12]


def test_a_token_expanded_over_the_batch() -> None:
    """As torch writes token.expand(n, -1, -1), joined with the patches."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "zero"], ["n1"]),
        helper.make_node("Concat", ["n1", "minus", "minus"], ["wish"], axis=0),
        helper.make_node("Shape", ["wish"], ["three"]),
        helper.make_node(
            "ConstantOfShape", ["three"], ["ones"],
            value=helper.make_tensor("v", 7, [1], [1]),
        ),
        helper.make_node("Mul", ["ones", "minus"], ["marks"]),
        helper.make_node("Equal", ["wish", "marks"], ["free"]),
        helper.make_node("Where", ["free", "ones", "wish"], ["to"]),
        helper.make_node("Expand", ["token", "to"], ["tokens"]),
        helper.make_node("Concat", ["tokens", "x"], ["all"], axis=1),
        helper.make_node("Slice", ["all", "one", "end", "one"], ["y"]),
    ]  # fmt: skip
    weights = {
        **INT, "first": np.array(0), "end": np.array([2**40]), "token": np.zeros((1, 2, 6), "f4"),
    }  # fmt: skip
    assert _shapes(nodes, ["n", 10, 6], weights, "y", 3) == ["n", 11, 6]


def test_arithmetic_with_sizes() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "three"], ["w"]),
        helper.make_node("Div", ["w", "two"], ["half"]),
        helper.make_node("Add", ["half", "one"], ["more"]),
        helper.make_node("Concat", ["zero", "zero", "more", "minus"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    weights = {**INT, "three": np.array([3])}
    assert _shapes(nodes, ["n", 2, 3, 10], weights, "y", 4) == ["n", 2, 6, 5]


def test_paddings_as_torch_reorders_them() -> None:
    """torch writes F.pad's list in pairs, reversed, and turns it round by axes and slices."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Neg", ["n"], ["less"]),
        helper.make_node("Mod", ["less", "four"], ["missing"]),
        helper.make_node("Unsqueeze", ["missing", "zero"], ["last"]),
        helper.make_node("Concat", ["zero", "last", "zeros"], ["list"], axis=0),
        helper.make_node("Reshape", ["list", "pairs"], ["paired"]),
        helper.make_node("Slice", ["paired", "minus", "least", "zero", "minus"], ["turned"]),
        helper.make_node("Transpose", ["turned"], ["across"], perm=[1, 0]),
        helper.make_node("Reshape", ["across", "minus"], ["pads"]),
        helper.make_node("Pad", ["x", "pads"], ["y"]),
    ]
    weights = {
        **INT, "first": np.array(2), "four": np.array(4), "zeros": np.zeros(4, np.int64),
        "pairs": np.array([-1, 2]), "least": np.array([-(2**40)]),
    }  # fmt: skip
    assert _shapes(nodes, ["n", 5, 10], weights, "y", 3) == ["n", 5, 12]


def test_a_slice_to_an_end_that_is_computed() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "two", "three"], ["w"]),
        helper.make_node("Div", ["w", "two"], ["half"]),
        helper.make_node("Slice", ["x", "zero", "half", "two"], ["y"]),
    ]
    weights = {**INT, "three": np.array([3])}
    assert _shapes(nodes, ["n", 5, 10], weights, "y", 3) == ["n", 5, 5]


def test_what_cannot_be_known_stays_open() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Concat", ["minus", "two"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    found = _shapes(nodes, ["n", 3, 2], INT, "y", 2)
    assert found[1] == 2 and not isinstance(found[0], int) and found[0] != "n"


WINDOWS = [
    ("Conv", {"strides": [2, 2], "pads": [0, 1, 1, 2]}),
    ("Conv", {"dilations": [2, 1]}),
    ("Conv", {"kernel_shape": [3, 2], "auto_pad": "VALID", "strides": [3, 2]}),
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]}),
    ("MaxPool", {"kernel_shape": [3, 2], "dilations": [2, 2]}),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
    ("LpPool", {"kernel_shape": [2, 4]}),
]


@pytest.mark.parametrize(("op", "attributes"), WINDOWS)
def test_windows_over_a_padding_that_is_computed(op: str, attributes: dict[str, Any]) -> None:
    """As keras pads before a stride: from there on onnx knows no sizes, and ONNX Runtime does."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "two", "three"], ["h"]),
        helper.make_node("Mod", ["h", "two"], ["odd"]),
        helper.make_node("Concat", ["zero", "zero", "zero", "zero", "zero", "zero", "odd", "one"],
                         ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["wide"]),
        helper.make_node(op, ["wide", "w"] if op == "Conv" else ["wide"], ["y"], **attributes),
    ]  # fmt: skip
    weights = {**INT, "three": np.array([3]), "w": np.ones((5, 3, 3, 2), np.float32)}
    found = _shapes(nodes, ["n", 3, 11, 12], weights, "y", 4)
    model = nets.model(nodes, {"x": ["n", 3, 11, 12]}, {"y": ["n", None, None, None]}, weights)
    (y,) = Session(load(model), device="cpu").run({"x": np.ones((2, 3, 11, 12), np.float32)})
    assert found == ["n", *y.shape[1:]]


@pytest.mark.parametrize("attributes", [{"ceil_mode": 1}, {"auto_pad": "SAME_UPPER"}])
def test_windows_that_runtimes_count_otherwise_stay_open(attributes: dict[str, Any]) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "two", "three"], ["h"]),
        helper.make_node("Concat", ["zero", "zero", "zero", "zero", "zero", "h"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["wide"]),
        helper.make_node("MaxPool", ["wide"], ["y"], kernel_shape=[2], strides=[2], **attributes),
    ]
    found = _shapes(nodes, ["n", 3, 11], {**INT, "three": np.array([3])}, "y", 3)
    assert not isinstance(found[2], int)


def test_a_normalisation_of_groups_says_nothing_of_axes() -> None:
    """[1, 1, all of it] is a group, no channel and its times: as in MobileViTv2."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
      g (float[1,3,4,6] x) => (float[1,5] y)
      <float[8,3,1,1] w, float[1] one = {1}, float[1] none = {0}, int64[3] flat = {1, 1, -1},
       int64[4] whole = {1, 8, 4, 6}, int64[6] cut = {1, 8, 2, 2, 3, 2},
       int64[6] parts = {1, 8, 2, 2, 2, 3}, float[4,8,1,1] v, float[4,5] h> {
      a = Conv (x, w) b = Reshape (a, cut) c = Transpose <perm = [0, 1, 3, 5, 2, 4]> (b)
      d = Reshape (c, whole) e = Reshape (d, flat) f = InstanceNormalization (e, one, none)
      i = Reshape (f, whole) j = Reshape (i, parts) k = Transpose <perm = [0, 1, 4, 2, 5, 3]> (j)
      l = Reshape (k, whole) last = Conv (l, v) m = GlobalAveragePool (last) n = Flatten (m)
      y = MatMul (n, h) }""")
    rng = np.random.default_rng(0)
    for name, shape in {"w": (8, 3, 1, 1), "v": (4, 8, 1, 1), "h": (4, 5)}.items():
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    del model.graph.value_info[:]
    found = catalog(load(model))
    assert found.feature is not None
    assert found.feature.name == "last"
    assert not any("time map" in c.reason for c in found.candidates)


@pytest.mark.parametrize("step", ["Slice (r, zero, two, zero)", "Split <num_outputs = 1> (r)"])
def test_a_tensor_of_unknown_rank_is_cut(step: str) -> None:
    """Levit cuts one: nothing can be said of its cells, and nothing fails."""
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 20]>
      g (float[1,3,4,6] x, bool[4] some) => (float[1,3] y)
      <float[3,3,1,1] w, int64[1] zero = {{0}}, int64[1] two = {{2}},
       int64[4] back = {{1, 3, 4, 6}}> {{
      a = Conv (x, w) s = Shape (a) t = Compress <axis = 0> (s, some) r = Reshape (a, t)
      c = {step} d = Reshape (c, back) m = GlobalAveragePool (d) y = Flatten (m) }}""")
    values = np.ones((3, 3, 1, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "w"))
    del model.graph.value_info[:]
    assert catalog(load(model)).candidates


def test_parts_whose_lengths_are_computed() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "two", "three"], ["w"]),
        helper.make_node("Div", ["w", "five"], ["fifth"]),
        helper.make_node("Sub", ["w", "fifth"], ["rest"]),
        helper.make_node("Concat", ["fifth", "rest"], ["list"], axis=0),
        helper.make_node("Split", ["x", "list"], ["a", "b"], axis=-1),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    weights = {**INT, "three": np.array([3]), "five": np.array([5])}
    assert _shapes(nodes, ["n", 3, 10], weights, "y", 3) == ["n", 3, 8]
