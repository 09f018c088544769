"""What runs on other processors, by tables: what the methods write stays on CUDA."""

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
from onnxcam.errors import UsageError
from onnxcam.run.kernels import fallen, on_cpu, providers

TYPES = {np.dtype(d).name for d in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4")}
TYPES |= {"uint64", "bool", "bfloat16"}
READ = 28  # the opset whose operators the tables were read against: an older onnx knows fewer


@pytest.mark.parametrize("name", ["coreml", "cuda", "directml", "tensorrt", "webgpu"])
def test_a_table_names_operators_versions_and_types_that_there_are(name: str) -> None:
    assert list(providers()) == ["coreml", "cuda", "directml", "tensorrt", "webgpu"]
    provider = providers()[name]
    known: dict[str, set[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            known.setdefault(schema.name, set()).add(schema.since_version)
    assert provider.kernels.keys() <= known.keys()
    for taken in provider.kernels.values():
        assert taken is None or taken <= TYPES
    for operator, until in provider.until.items():
        assert operator in provider.kernels and until in known[operator]
        newest = until < max(known[operator]) or onnx.defs.onnx_opset_version() < READ
        assert newest, f"{operator}: a limit that limits nothing"
    for operator, versions in provider.gaps.items():
        assert set(versions) <= known[operator]


OF_TRANSFORMERS = {"legrad"}  # the network here is none


@pytest.mark.parametrize("name", sorted({*methods.names("graph")} - OF_TRANSFORMERS))
@pytest.mark.parametrize("options", [{}, {"overlay": True, "runtime_targets": True}])
def test_everything_that_a_method_writes_has_a_kernel(name: str, options: dict[str, bool]) -> None:
    made = [
        onnxcam.convert(
            nets.cnn(channels=3),
            method=name,
            preprocess="unit",
            check=False,
            opset=opset,
            **options,
        ).proto
        for opset in (19, 20)
    ]
    assert on_cpu(made[0]) == {}
    assert any(node.name.startswith("onnxcam/") for node in made[0].graph.node)
    # ONNX changed two operators at 20, of which CUDA has no newer kernels: the hint is 19.
    later = fallen(made[1])["cuda"]
    assert {what.split()[0] for what in later.nodes} <= {"ReduceMax", "ReduceMin"}
    assert later.opset == (19 if later.nodes else None)


@pytest.mark.parametrize(
    ("provider", "operator", "dtype", "opset", "there"),
    [
        ("cuda", "Conv", "float16", None, True), ("cuda", "Conv", "int8", None, False),
        ("cuda", "Where", "int64", None, True), ("cuda", "CumProd", "float32", None, False),
        ("cuda", "Cast", "int8", None, True), ("cuda", "ReduceProd", "int64", None, False),
        ("cuda", "Conv", None, None, True), ("cuda", "StringConcat", None, None, False),
        ("cuda", "Abs", "bfloat16", 20, True), ("cuda", "Attention", "float64", 23, False),
        ("cuda", "QuantizeLinear", "float64", 20, False), ("cuda", "Flatten", "string", 13, False),
        ("cuda", "Pad", "float32", 18, True), ("cuda", "Pad", "float32", 19, False),
        ("cuda", "ReduceMax", "float32", 19, True), ("cuda", "ReduceMax", "float32", 20, False),
        ("cuda", "ConvTranspose", "float32", 21, True),
        ("cuda", "ConvTranspose", "float32", 22, False),
        ("cuda", "Cast", "float32", 23, True), ("cuda", "Cast", "float32", 24, False),
        ("directml", "ConstantOfShape", "int64", 19, True),
        ("directml", "ConstantOfShape", "int64", 20, False),
        ("directml", "ConstantOfShape", "int64", 21, True),
        ("directml", "Conv", "float32", 21, True), ("directml", "Conv", "float32", 22, False),
        ("directml", "ScatterND", "float32", 18, False), ("directml", "Scan", "float32", 18, False),
        ("tensorrt", "Reciprocal", "float32", 20, True),
        ("tensorrt", "Unique", "float32", 20, False),
        ("coreml", "Pad", "float32", 18, False), ("coreml", "Tile", "float32", 18, True),
        ("webgpu", "Gather", "float32", 18, True), ("webgpu", "ScatterND", "float32", 18, False),
        ("webgpu", "ReduceMin", "float32", 20, False),
    ],
)  # fmt: skip
def test_an_operator_has_a_kernel_for_some_types_and_versions(
    provider: str, operator: str, dtype: str | None, opset: int | None, there: bool
) -> None:
    found = providers()[provider]
    assert found.has(helper.make_node(operator, ["x"], ["y"]), dtype, opset) is there
    other = helper.make_node(operator, ["x"], ["y"], domain="com.example")
    assert found.has(other, dtype, opset)  # nothing is said of it


def test_a_provider_without_a_table_is_said() -> None:
    with pytest.raises(UsageError, match="no table of rocm.*coreml, cuda"):
        on_cpu(nets.cnn(), provider="rocm")


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
    assert said["providers"]["cuda"] == {"on_cpu": {"Hardmax of float32": 1}, "opset": None}
    assert said["providers"]["directml"]["on_cpu"] == {}  # which has a Hardmax
    assert said["providers"].keys() == providers().keys()
    (tmp_path / "n.onnx").write_bytes(nets.cnn().SerializeToString())
    assert "CUDA" not in CliRunner().invoke(main, ["convert", "n.onnx", "-o", "f.onnx"]).output
    words = ["convert", "n.onnx", "-o", "g.onnx", "--normalize", "max"]
    output = CliRunner().invoke(main, words).output
    assert "on CUDA these nodes would run on the CPU: ReduceMax of float32" in output
    assert "; none at --opset 19" in output
