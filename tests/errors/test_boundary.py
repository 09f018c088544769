"""What libraries raise, and what onnxcam did not expect, becomes one line with place and cause."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer, load
from onnxcam.errors import InternalError, ModelError, OnnxcamError, UsageError, bounded, told
from onnxcam.model.passes import pipeline


def _raising(error: Exception, monkeypatch: pytest.MonkeyPatch) -> OnnxcamError:
    """Return what `load` raises where something in it raises an error."""

    def fails(proto: onnx.ModelProto) -> None:
        node = proto.graph.node[0]
        assert node.op_type
        raise error

    fails.__globals__["__name__"], old = "onnxcam.twin", fails.__globals__["__name__"]
    try:
        monkeypatch.setattr(pipeline, "within", fails)
        with pytest.raises(OnnxcamError) as raised:
            load(nets.cnn())
    finally:
        fails.__globals__["__name__"] = old
    assert raised.value.__cause__ is error
    return raised.value


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (IndexError("list index out of range"), InternalError, "did not expect IndexError"),
        (AssertionError("bodies fit"), InternalError, "did not expect AssertionError: bodies fit"),
        (KeyError("t\x1b[0m"), InternalError, "onnxcam did not expect KeyError: 't\\x1b[0m'"),
        (MemoryError(), ModelError, "memory does not hold it"),
        (RecursionError("deep"), ModelError, "nested too deeply"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), ModelError, "no UTF-8"),
        (PermissionError(13, "Permission denied", "w.bin"), OnnxcamError, "w.bin: cannot be used"),
        (onnx.checker.ValidationError("bad node"), ModelError, "onnx: bad node"),
        (UserWarning("old"), OnnxcamError, "a warning counts as an error here: old"),
    ],
)
def test_every_error_is_one_of_onnxcams(
    error: Exception, kind: type[OnnxcamError], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = _raising(error, monkeypatch)
    assert isinstance(raised, kind) and says in str(raised) and "\n" not in str(raised)
    if kind is InternalError:
        assert "at node 'c' (Conv)" in str(raised) or "(Conv)" in str(raised)
        assert "please report it" in str(raised).lower()


def test_one_fault_has_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (_raising(IndexError(text), monkeypatch) for text in ("a", "b"))
    other = _raising(KeyError("a"), monkeypatch)
    number = [str(e).rpartition("fault ")[2] for e in (first, second, other)]
    assert number[0] == number[1] != number[2]


def test_what_a_caller_raises_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), bounded("it fails"):
        raise ZeroDivisionError
    with pytest.raises(UsageError, match="own"), bounded("it fails"):
        raise UsageError("own")

    def progress(done: int, total: int | None) -> None:
        raise ZeroDivisionError("the caller's")

    explainer = Explainer(nets.cnn(), "smoothgrad", progress=progress, cache=False)
    with pytest.raises(ZeroDivisionError, match="the caller's"):
        explainer(np.zeros((1, 2, 6, 6), "f4"))


def test_the_line_has_bounds() -> None:
    said = str(told(IndexError("x" * 10_000), "it fails"))
    assert len(said) < 600 and "(10000 characters)" in said


@pytest.mark.parametrize("depth", [3, 30])
def test_graphs_in_graphs(depth: int) -> None:
    """Some are read; where protobuf or Python stop, that is said."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["r"], ["b0"])], "b0", [],
        [helper.make_tensor_value_info("b0", 1, None)],
    )  # fmt: skip
    for k in range(1, depth):
        out = f"b{k}"
        other = body if depth < 10 else _leaf(out)  # no file that doubles with each
        node = helper.make_node("If", ["cond"], [out], then_branch=body, else_branch=other)
        body = helper.make_graph([node], out, [], [helper.make_tensor_value_info(out, 1, None)])
    model = nets.cnn()
    first = model.graph.node[0].output[0]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "cond"))
    body_node = helper.make_node("If", ["cond"], ["z"], then_branch=body, else_branch=_leaf("z0"))
    for part in _every(body_node):
        part.input[:] = [first if i == "r" else i for i in part.input]
    model.graph.node.append(body_node)
    model.graph.output.append(helper.make_tensor_value_info("z", 1, None))
    try:
        load(model)
    except ModelError as error:
        assert depth > 10 and ("nested too deeply" in str(error) or "read" in str(error))


def _leaf(name: str) -> onnx.GraphProto:
    made = helper.make_node("Identity", ["r"], [name])
    return helper.make_graph([made], name, [], [helper.make_tensor_value_info(name, 1, None)])


def _every(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    inner = [n for a in node.attribute if a.HasField("g") for m in a.g.node for n in _every(m)]
    return [node, *inner]
