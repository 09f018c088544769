"""Many nodes, weights and rows: time grows as the file does, not as its square."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from rich.console import Console

import onnxcam
from onnxcam.analysis import layers
from onnxcam.cli import tables
from onnxcam.model.model import load


def _model(*nodes: onnx.NodeProto, last: str, **weights: object) -> onnx.ModelProto:
    """Return a small network with nodes between its activation and its pooling."""
    weights["w"] = np.ones((4, 3, 3, 3), np.float32)
    ends = [
        helper.make_node("GlobalAveragePool", [last], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    head = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["r"])]
    graph = helper.make_graph(
        [*head, *nodes, *ends], "g", [helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, [1, 4])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _joined(count: int) -> onnx.ModelProto:
    each = [helper.make_node("Tanh", ["r"], [f"a{k}"]) for k in range(count)]
    joined = helper.make_node("Sum", [f"a{k}" for k in range(count)], ["s"])
    return _model(*each, joined, last="s")


def _behind_each_other(count: int) -> onnx.ModelProto:
    names = ["r", *(f"a{k}" for k in range(count))]
    nodes = [helper.make_node("Tanh", [a], [b]) for a, b in itertools.pairwise(names)]
    return _model(*nodes, last=names[-1])


def _unused(count: int) -> onnx.ModelProto:
    return _model(last="r", **{f"i{k}": np.float32([k]) for k in range(count)})


@pytest.mark.parametrize("made", [_joined, _behind_each_other, _unused])
def test_four_times_as_many_take_four_times_as_long(
    made: Callable[[int], onnx.ModelProto],
) -> None:
    def calls(count: int) -> int:
        """Return how many functions are called, which no other work on the machine changes."""
        model, found = made(count), 0

        def profile(*_: object) -> None:
            nonlocal found
            found += 1

        sys.setprofile(profile)
        try:
            layers.catalog(load(model))
        finally:
            sys.setprofile(None)
        return found

    calls(10)  # what is imported late
    few, many = calls(200), calls(800)
    assert many < 4.6 * few, (few, many)  # squares would be 16 times


def test_a_long_table_says_what_a_short_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables._table("name", "op", "shape")
    for k in range(5):
        tables._row(table, "界" * k, f"Op{k}\x1b[31m", "1 x 2" if k % 2 else "")

    def printed() -> str:
        out = Console(file=io.StringIO(), width=120, markup=False, emoji=False, highlight=False)
        tables._print_table(out, table)
        text: str = out.file.getvalue()  # type: ignore[attr-defined]
        return text

    short = printed()
    monkeypatch.setattr(tables, "_LONG", 2)
    assert printed() == short and "\x1b" not in short


def _branches(depth: int, *, known: bool) -> onnx.ModelProto:
    """Return an If in an If ..., as deep as this, of which the inner one doubles what it gets."""
    node = helper.make_node("Add", ["r", "r"], ["then0"])
    for k in range(1, depth + 1):
        bodies = {
            f"{name}_branch": helper.make_graph(
                [inner], f"{name}{k}", [], [helper.make_tensor_value_info(inner.output[0], 1, None)]
            )
            for name, inner in (
                ("then", node), ("else", helper.make_node("Identity", ["r"], [f"else{k}"]))
            )
        }  # fmt: skip
        node = helper.make_node("If", ["yes"], [f"then{k}"], **bodies)
    if known:
        return _model(node, last=f"then{depth}", yes=np.array(True))
    largest = helper.make_node("ReduceMax", ["r"], ["m"], keepdims=0)
    yes = helper.make_node("GreaterOrEqual", ["m", "zero"], ["yes"])
    return _model(largest, yes, node, last=f"then{depth}", zero=np.float32(0))


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from (node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield from _names(attribute.g)


@pytest.mark.parametrize("known", [False, True])
def test_names_in_branches_in_branches_stay_short(known: bool) -> None:
    """Each had twice the length of the one around it: thirty Ifs, 4 KB, took all memory."""
    model, plain = (_branches(depth, known=known) for depth in (20, 1))
    made = onnxcam.convert(model, method="saliency", sample=np.ones((1, 3, 8, 8), np.float32))
    assert max(map(len, _names(made.proto.graph))) < 1000
    shallow, deep = (
        onnxcam.Explainer(m, "saliency", device="cpu", cache=False) for m in (plain, model)
    )
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(deep(x, target=1).map, shallow(x, target=1).map, rtol=1e-5)
