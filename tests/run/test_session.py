"""Sessions: the provider is said, and what fails says why."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support import nets

from onnxcam.errors import InputError, ModelError, OnnxcamError, UsageError
from onnxcam.model.model import load
from onnxcam.run.session import Session, choose_provider, runtime


def _has_cuda() -> bool:
    return choose_provider("auto").name.startswith("CUDA")


def test_cpu_is_taken_when_asked_for() -> None:
    assert choose_provider("cpu").name == "CPUExecutionProvider"


def test_auto_says_why() -> None:
    provider = choose_provider("auto")
    assert provider.why
    assert provider.name in ("CPUExecutionProvider", "CUDAExecutionProvider")


def test_there_is_no_word_of_cuda_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if _has_cuda():
        pytest.skip("a CUDA device is here")
    monkeypatch.setattr("onnxcam.run.session.has_gpu", lambda: False)
    assert "CUDA" not in choose_provider("auto").why
    monkeypatch.setattr("onnxcam.run.session.has_gpu", lambda: True)
    assert "no usable CUDA device" in choose_provider("auto").why


def test_gpu_without_cuda_is_an_error() -> None:
    if _has_cuda():
        pytest.skip("a CUDA device is here")
    with pytest.raises(UsageError, match="no usable CUDA device.*onnxcam\\[gpu\\]"):
        choose_provider("gpu")


@pytest.mark.cuda
def test_gpu_runs_on_cuda() -> None:
    if not _has_cuda():
        pytest.skip("no CUDA device")
    session = Session(nets.cnn(), device="gpu")
    assert session.provider.name == "CUDAExecutionProvider"
    assert session.run({"x": np.ones((1, 2, 6, 6), "f4")})[0].shape == (1, 3)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="no device 'tpu'"):
        choose_provider("tpu")  # type: ignore[arg-type]


def test_without_onnxruntime_both_builds_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError("No module named 'onnxruntime'")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(OnnxcamError, match=r"onnxcam\[cpu\].*onnxcam\[gpu\]"):
        runtime()


def test_a_model_that_cannot_run_is_an_error() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], domain="com.nowhere")
    value = [helper.make_tensor_value_info(n, 1, [1]) for n in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.nowhere", 1)],
        ir_version=9,
    )
    with pytest.raises(ModelError, match="cannot load the model"):
        Session(proto, device="cpu")


def test_a_wrong_input_is_an_error() -> None:
    session = Session(nets.cnn(), device="cpu")
    with pytest.raises(InputError, match="ONNX Runtime failed"):
        session.run({"x": np.ones((1, 7, 6, 6), "f4")})
    with pytest.raises(InputError, match="ONNX Runtime failed"):
        session.run({"nothing": np.ones((1, 2, 6, 6), "f4")})


def _with(nodes: list[onnx.NodeProto], weight: onnx.TensorProto) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(n, 1, [1, 64]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_handed_over_apart_give_the_same(dtype: str) -> None:
    """Large weights are lent to ONNX Runtime; those NumPy has no dtype for are put back."""
    w = np.random.default_rng(0).normal(size=(64, 64))
    weight = numpy_helper.from_array(w.astype(getattr(ml_dtypes, dtype, dtype)), "w")
    nodes = [
        helper.make_node("Cast", ["w"], ["wf"], to=1),
        helper.make_node("MatMul", ["x", "wf"], ["y"]),
    ]
    proto = _with(nodes, weight)
    before = proto.SerializeToString(deterministic=True)
    x = np.random.default_rng(1).normal(size=(1, 64)).astype("f4")
    got = Session(load(proto), device="cpu").run({"x": x})[0]
    want = runtime().InferenceSession(before).run(None, {"x": x})[0]
    np.testing.assert_array_equal(got, want)
    assert proto.SerializeToString(deterministic=True) == before
