"""Places that a model finds in what it is given are no longer those of its input."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer
from onnxcam.errors import OnnxcamError

RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((20, 8)).astype("f4")
HEAD = RNG.standard_normal((8, 4)).astype("f4")
TAPS = RNG.standard_normal((8, 8, 3)).astype("f4")
IDS = np.array([3, 7, 1, 19, 4, 4, 11])


def whole(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose inputs are whole numbers, but for x."""
    for value in proto.graph.input:
        if value.name != "x":
            value.type.tensor_type.elem_type = onnx.TensorProto.INT64
    return proto


def sentences() -> onnx.ModelProto:
    """Mean of each of some sentences that lie one behind the other: ids [T], their ends [B + 1]."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Transpose", ["e"], ["t"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["t", "0s"], ["u"]),
        helper.make_node("Conv", ["u", "taps"], ["k"], pads=[1, 1]),
        helper.make_node("Relu", ["k"], ["a"]),
        helper.make_node("Squeeze", ["a", "0s"], ["s"]),
        helper.make_node("Transpose", ["s"], ["w"], perm=[1, 0]),
        helper.make_node("CumSum", ["w", "0"], ["sums"]),
        helper.make_node("Concat", ["zeros", "sums"], ["long"], axis=0),
        helper.make_node("Slice", ["ends", "1s", "many", "0s"], ["stop"]),
        helper.make_node("Slice", ["ends", "0s", "-1s", "0s"], ["start"]),
        helper.make_node("Gather", ["long", "stop"], ["b"], axis=0),
        helper.make_node("Gather", ["long", "start"], ["c"], axis=0),
        helper.make_node("Sub", ["b", "c"], ["d"]),
        helper.make_node("MatMul", ["d", "head"], ["y"]),
    ]
    numbers = {
        "taps": TAPS, "table": TABLE, "head": HEAD,
        "zeros": np.zeros((1, 8), "f4"), "0": np.array(0),
        "0s": np.array([0]), "1s": np.array([1]), "-1s": np.array([-1]), "many": np.array([9999]),
    }  # fmt: skip
    return whole(nets.model(nodes, {"ids": ["T"], "ends": ["B1"]}, {"y": ["B", 4]}, numbers))


def test_one_sentence_is_explained_by_its_words() -> None:
    explain = Explainer(sentences(), device="cpu", upsampling="none")
    assert explain.feature.name == "a"
    found = explain(IDS, target=1, extra_inputs={"ends": np.array([0, len(IDS)])})
    near = np.pad(TABLE[IDS], ((1, 1), (0, 0)))
    seen = sum(near[k : k + len(IDS)] @ TAPS[:, :, k].T for k in range(3))
    want = np.maximum(np.maximum(seen, 0) @ HEAD[:, 1], 0)
    np.testing.assert_allclose(found.raw_map, want, rtol=1e-4, atol=1e-6)


def test_several_sentences_are_no_single_one() -> None:
    explain = Explainer(sentences(), device="cpu")
    with pytest.raises(OnnxcamError, match="1 input became 2 rows of scores"):
        explain(IDS, target=1, extra_inputs={"ends": np.array([0, 3, len(IDS)])})


@pytest.mark.parametrize("found", [True, False])
def test_columns_that_are_found_are_doubted(found: bool) -> None:
    """Every second column, by indices that follow from the width, or from another input."""
    count = [helper.make_node("Identity", ["order"], ["places"])] if found else [
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node("Gather", ["shape", "3"], ["width"]),
        helper.make_node("Range", ["0", "width", "2"], ["places"]),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        *count,
        helper.make_node("Gather", ["a", "places"], ["b"], axis=3),
        helper.make_node("Relu", ["b"], ["late"]),
        helper.make_node("GlobalAveragePool", ["late"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    inputs = {"x": ["N", 2, 6, 8]} | ({"order": ["n"]} if found else {})
    numbers = {k: np.array(int(k)) for k in "023"}
    explain = Explainer(whole(nets.model(nodes, inputs, {"y": ["N", 2]}, numbers)), device="cpu")
    assert explain.feature.name == "late"
    x = RNG.standard_normal((1, 2, 6, 8)).astype("f4")
    others = {"extra_inputs": {"order": np.array([4, 0, 2, 6])}} if found else {}
    said = " ".join(explain(x, target=1, **others).diagnosis)
    assert ("where the map lies on the input cannot be told" in said) is found
