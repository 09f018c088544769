"""Models in half precision, explained in single: gradients that half precision cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import ModelProto, TensorProto, helper
from support import evaluate, nets

import onnxcam
from onnxcam import methods
from onnxcam.analysis import layers
from onnxcam.cli import main
from onnxcam.compose import explain_graph
from onnxcam.errors import UnsupportedOp
from onnxcam.model.model import load
from onnxcam.names import MAP, SCORE
from onnxcam.run.session import Session

SIZE = 48


def _net(kind: Any, **scale: float) -> ModelProto:
    """Conv, Relu, global average pooling, two linear layers of these scales, a Cast between."""
    rng = np.random.default_rng(7)
    weights = {
        "w": rng.normal(size=(4, 2, 3, 3)) * scale.get("conv", 1),
        "fc1": rng.normal(size=(4, 5)) * scale.get("first", 1),
        "fc2": rng.normal(size=(5, 3)) * scale.get("second", 1),
    }
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node("Cast", ["flat"], ["same"], name="cast", to=number),
        helper.make_node("MatMul", ["same", "fc1"], ["hidden"], name="one"),
        helper.make_node("MatMul", ["hidden", "fc2"], ["y"], name="two"),
    ]
    typed = {k: v.astype(kind) for k, v in weights.items()}
    return nets.model(nodes, {"x": ["N", 2, SIZE, SIZE]}, {"y": ["N", 3]}, typed, dtype=number)


X = np.random.default_rng(0).normal(size=(2, 2, SIZE, SIZE))


def _maps(proto: ModelProto, method: str, *, single: bool, exact: bool = False) -> list[np.ndarray]:
    model = load(proto)
    explained = explain_graph(
        model, layers.catalog(model), methods.find(method), single=single, targets=2,
        default=[1, 2], expose=["score"],
    )  # fmt: skip
    onnx.checker.check_model(explained.proto, full_check=True)
    feeds = {"x": X.astype(model.inputs[0].dtype)}
    if exact:  # ONNX Runtime itself computes much of half precision in single, on the CPU
        return evaluate.run(explained.proto, feeds, [MAP, SCORE])
    return Session(explained.model, device="cpu", threads=1).run(feeds, [MAP, SCORE])


UNDERFLOW = {"first": 1e-2, "second": 1e-3}  # over 48 x 48 positions: 4e-9
OVERFLOW = {"conv": 1e-4, "first": 1e3, "second": 1e3}


@pytest.mark.parametrize("scale", [UNDERFLOW, OVERFLOW], ids=["underflow", "overflow"])
@pytest.mark.parametrize("method", ["gradcam", "layercam", "guided-gradcam", "saliency"])
def test_a_gradient_beyond_half_precision_is_kept(method: str, scale: dict[str, float]) -> None:
    want, _ = _maps(_net(np.float32, **scale), method, single=False)
    half = _net(np.float16, **scale)
    found, score = _maps(half, method, single=True)
    lost, _ = _maps(half, method, single=False, exact=True)
    assert np.isfinite(found).all() and found.dtype == np.float32
    assert np.linalg.norm(found - want) <= 0.02 * np.linalg.norm(want)
    bad = ~np.isfinite(lost).all() or np.linalg.norm(lost - want) > 0.05 * np.linalg.norm(want)
    assert bad, "the test has lost its object"
    np.testing.assert_array_equal(score, _maps(half, method, single=False)[1])
    assert score.dtype == np.float16


def test_a_model_in_single_precision_stays_as_it_is() -> None:
    model = load(_net(np.float32))
    found = layers.catalog(model)
    plain, safe = (
        explain_graph(model, found, methods.find("gradcam"), single=s).model.light.graph.node
        for s in (False, True)
    )
    assert [n.SerializeToString() for n in plain] == [n.SerializeToString() for n in safe]


def test_the_weights_of_cam_are_those_of_single_precision() -> None:
    want, got = (_maps(nets_cam(kind), "cam", single=True)[0] for kind in (np.float32, np.float16))
    assert np.linalg.norm(got - want) <= 0.01 * np.linalg.norm(want)


def nets_cam(kind: Any) -> ModelProto:
    """The network without its second linear layer, its logits beyond half precision's smallest."""
    proto = _net(kind, first=1e-3)
    graph = proto.graph
    graph.node[-2].output[0] = "y"
    del graph.node[-1], graph.initializer[-1]
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    return proto


def test_a_subgraph_on_the_way_is_refused() -> None:
    """If x: relu(x) else x, then pooled."""
    half = TensorProto.FLOAT16
    port = helper.make_tensor_value_info("b", half, None)
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(kind, ["c"], ["b"])], name, [], [port]
        )
        for name, kind in (("then", "Relu"), ("else", "Identity"))
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("If", ["yes"], ["i"], name="if", **branches),
        helper.make_node("GlobalAveragePool", ["i"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    weights = {"w": np.ones((3, 2, 1, 1), np.float16), "yes": np.array(True)}
    model = load(nets.model(nodes, {"x": [1, 2, 5, 5]}, {"y": [1, 3]}, weights, dtype=half))
    found = layers.catalog(model)
    with pytest.raises(UnsupportedOp, match="If.*cannot be computed in float32.*`fp16_safe`"):
        explain_graph(model, found, methods.find("saliency"), single=True)


def test_the_file_says_so_and_passes_the_check() -> None:
    made = onnxcam.convert(_net(np.float16, **UNDERFLOW), fp16_safe=True)
    assert made.explained.model.metadata["onnxcam.fp16_safe"] == "true"
    assert made.check is not None and made.check.map < 1e-4
    nodes = made.proto.graph.node
    twins = [n for n in nodes if n.name.startswith("onnxcam/single/")]
    assert twins, "the head runs again"
    assert not [n for n in twins if n.op_type == "Conv"], "what lies before the feature does not"
    kinds = {v.name: v.type.tensor_type.elem_type for v in made.proto.graph.output}
    assert kinds == {
        "y": TensorProto.FLOAT16, "onnxcam.map": TensorProto.FLOAT, "onnxcam.class": 7,
    }  # fmt: skip


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(_net(np.float16, **UNDERFLOW).SerializeToString())
    words = ["convert", f"{tmp_path}/m.onnx", "-o", f"{tmp_path}/o.onnx", "--fp16-safe"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    session = Session(load(tmp_path / "o.onnx"), device="cpu", threads=1)
    (map_,) = session.run({"x": X.astype(np.float16)}, [MAP])
    assert map_.any(), "half precision alone gives zeros"
