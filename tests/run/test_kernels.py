"""What runs on CUDA, by a table: nothing that the methods write falls to the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from support import nets

import onnxcam
from onnxcam import methods
from onnxcam.cli import main
from onnxcam.run.kernels import has_kernel, kernels, on_cpu


def test_the_table_names_operators_and_types_that_there_are() -> None:
    known = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}
    assert kernels().keys() <= known
    types = {np.dtype(d).name for d in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4")}
    for taken in kernels().values():
        assert taken is None or taken <= types | {"uint64", "bool", "bfloat16"}


OF_TRANSFORMERS = {"legrad"}  # the network here is none


@pytest.mark.parametrize("name", sorted({*methods.names("graph")} - OF_TRANSFORMERS))
@pytest.mark.parametrize("options", [{}, {"overlay": True, "runtime_targets": True}])
def test_everything_that_a_method_writes_has_a_kernel(name: str, options: dict[str, bool]) -> None:
    made = onnxcam.convert(
        nets.cnn(channels=3), method=name, preprocess="unit", check=False, **options
    )
    assert on_cpu(made.proto) == {}
    assert any(node.name.startswith("onnxcam/") for node in made.proto.graph.node)


@pytest.mark.parametrize(
    ("operator", "dtype", "there"),
    [
        ("Conv", "float16", True), ("Conv", "int8", False), ("Where", "int64", True),
        ("CumProd", "float32", False), ("Cast", "int8", True), ("ReduceProd", "int64", False),
        ("Conv", None, True), ("StringConcat", None, False),
    ],
)  # fmt: skip
def test_an_operator_has_a_kernel_for_some_types(
    operator: str, dtype: str | None, there: bool
) -> None:
    assert has_kernel(operator, "", dtype) is there
    assert has_kernel(operator, "com.example", dtype)  # nothing is said of it


def _model() -> onnx.ModelProto:
    """One node without a kernel, one on integers, one in a branch, and one that counts shapes."""
    inner = helper.make_graph(
        [helper.make_node("Hardmax", ["x"], ["h"], name="inner")], "branch", [],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, None)],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["i"], name="same")], "other", [],
        [helper.make_tensor_value_info("i", TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("If", ["c"], ["y"], name="if", then_branch=inner, else_branch=other),
        helper.make_node("ReduceProd", ["n"], ["p"], name="product"),
        helper.make_node("Shape", ["x"], ["s"], name="shape"),
        helper.make_node("ReduceProd", ["s"], ["q"], name="extent"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("n", TensorProto.INT64, [3]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("p", TensorProto.INT64, None),
            helper.make_tensor_value_info("q", TensorProto.INT64, None),
        ],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_nodes_without_a_kernel_are_counted_in_branches_too() -> None:
    assert on_cpu(_model()) == {"Hardmax of float32": 1, "ReduceProd of int64": 1}
    assert on_cpu(_model(), "inner") == {"Hardmax of float32": 1}


def test_convert_says_what_would_run_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    proto = nets.cnn()
    proto.graph.node.append(helper.make_node("Hardmax", ["logits"], ["hard"], name="hard"))
    proto.graph.output.append(helper.make_tensor_value_info("hard", TensorProto.FLOAT, ["N", 3]))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    result = CliRunner().invoke(main, ["convert", "m.onnx", "-o", "e.onnx"])
    assert "on CUDA these nodes would run on the CPU: Hardmax of float32 (1)" in result.output
    words = ["convert", "m.onnx", "-o", "e.onnx", "--force", "--json"]
    said = json.loads(CliRunner().invoke(main, words).stdout)
    assert said["cuda"] == {"on_cpu": {"Hardmax of float32": 1}}
    (tmp_path / "n.onnx").write_bytes(nets.cnn().SerializeToString())
    assert "CUDA" not in CliRunner().invoke(main, ["convert", "n.onnx", "-o", "f.onnx"]).output
