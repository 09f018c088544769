"""Maps are enlarged in the graph as they are outside of it, whatever of the sizes is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from onnxcam.compose.resample import resampled
from onnxcam.model.draft import Draft
from onnxcam.model.model import load
from onnxcam.output.upsample import upsample
from onnxcam.run.session import Session

CASES = [
    ((49,), (16000,)),
    ((7,), (64,)),
    ((300,), (1000,)),
    ((1,), (70000,)),
    ((900,), (400,)),
    ((5, 4), (33, 17)),
    ((1, 9), (8, 9)),
    ((3, 4, 2), (6, 11, 5)),
]


def _resampled(few: tuple[int, ...], many: tuple[int, ...], *, fixed: bool) -> Any:
    """Return the graph that resamples ``map`` [N, K, *few] to the size of ``like``."""
    dims = list(few) if fixed else [f"few{i}" for i in range(len(few))]
    sizes = list(many) if fixed else [f"many{i}" for i in range(len(few))]
    ins = [
        helper.make_tensor_value_info("map", 1, ["n", "k", *dims]),
        helper.make_tensor_value_info("like", 1, sizes),
    ]
    out = helper.make_tensor_value_info("y", 1, ["n", "k", *dims])
    zero = numpy_helper.from_array(np.zeros(1, "f4"), "zero")
    nodes = [
        helper.make_node("Add", ["map", "zero"], ["y"]),
        helper.make_node("Add", ["like", "zero"], ["size"]),
    ]
    shown = helper.make_tensor_value_info("size", 1, sizes)
    graph = helper.make_graph(nodes, "g", ins, [out, shown], [zero])
    opset = [helper.make_opsetid("", 20)]
    return load(helper.make_model(graph, opset_imports=opset, ir_version=9))


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "dynamic"])
@pytest.mark.parametrize(("few", "many"), CASES, ids=str)
def test_the_graph_resamples_as_numpy_does(
    few: tuple[int, ...], many: tuple[int, ...], fixed: bool
) -> None:
    draft = Draft(_resampled(few, many, fixed=fixed))
    op, like = draft.op, draft.tensor("size")
    size = [op.dim(like, i) for i in range(len(many))]
    draft.output(resampled(op, draft.tensor("y"), size), "large")
    map = np.random.default_rng(0).standard_normal((2, 3, *few)).astype(np.float32)
    feeds = {"map": map, "like": np.zeros(many, np.float32)}
    (found,) = Session(draft.finish()).run(feeds, ["large"])
    np.testing.assert_allclose(found, upsample(map, many), atol=2e-5)


def test_the_matrices_of_a_long_signal_are_small() -> None:
    """A sound of ten seconds: the whole matrix would have 320 MB."""
    draft = Draft(_resampled((499,), (160000,), fixed=True))
    large = resampled(draft.op, draft.tensor("y"), [160000])
    draft.output(large, "large")
    assert draft.finish().proto.ByteSize() < 8_000_000
