"""The second gradient builder against the native one, and against torch in double.

What onnxruntime-training cannot do or does wrongly is in docs/ort-training.md; each entry there
has a case here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, helper, numpy_helper, parser
from support.gradcheck import run
from support.training_cases import CASES, REFUSED
from support.training_nets import NETS, exported, network

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.ort_training import builder as ort_training
from onnxcam.autodiff.ort_training.prepare import Prepared, prepare
from onnxcam.errors import UnsupportedOp, UsageError
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model, load
from onnxcam.model.weights import Weights

DOMAINS = {"", "ai.onnx"}


@pytest.fixture(scope="module")
def training() -> Path:
    """The Python of the environment with onnxruntime-training."""
    try:
        return ort_training.interpreter()
    except UsageError as error:
        pytest.skip(str(error))


def relative(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - np.float64(want)) / max(np.linalg.norm(want), 1e-30))


def both(
    model: ModelProto | Model, feeds: dict[str, Any], wrt: list[str], outputs: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the gradients of the native builder and of the other, by name of ``wrt``."""
    grads = []
    for builder in ("native", "ort-training"):
        grad = vjp_model(model, wrt, outputs, builder=builder)
        onnx.checker.check_model(grad, full_check=True)
        proto = model.light if isinstance(model, Model) else model
        had = {node.domain for node in proto.graph.node}
        assert {node.domain for node in grad.graph.node} <= had | DOMAINS
        assert not any(n.op_type.endswith("Grad") for n in grad.graph.node)
        given = {v.name for v in grad.graph.input}
        made = run(grad, {k: v for k, v in feeds.items() if k in given})
        grads.append({name: made[f"grad::{name}"] for name in wrt})
    return grads[0], grads[1]


# ---- architectures


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", NETS)
def test_builders_agree_on_an_architecture(training: Path, name: str, dynamic: bool) -> None:
    net, x = network(name)
    model = exported(net, x, dynamic=dynamic)
    initializers = {t.name for t in model.graph.initializer}
    weights = {k: p for k, p in net.named_parameters() if k in initializers and p.ndim > 1}
    middle = [n.output[0] for n in model.graph.node if n.op_type in ("Conv", "MatMul", "Relu")]
    wrt = ["x", *weights, middle[len(middle) // 2]]
    x.requires_grad_()
    y = net(x)
    ct = torch.randn_like(y)
    exact = torch.autograd.grad((y * ct).sum(), [x, *weights.values()])
    feeds = {"x": x.detach().float().numpy(), "ct::y": ct.float().numpy()}

    native, other = both(model, feeds, wrt, ["y"])

    for key in wrt:
        assert relative(other[key], native[key]) <= 1e-5, key
    for key, want in zip(["x", *weights], exact, strict=True):
        assert relative(other[key], want.numpy()) <= 1e-5, key


# ---- what onnxruntime-training alone does wrongly, or not at all


def parsed(text: str, opset: int = 20) -> ModelProto:
    text = text.replace("'", '"')
    imports = f'["": {opset}, "com.microsoft": 1]'
    return parser.parse_model(f"<ir_version: 10, opset_import: {imports}>\ngraph {text}")


def kept(model: ModelProto) -> Model:
    """Return a model that is not raised to opset 20."""
    return Model(onnx.shape_inference.infer_shapes(model), Weights(), "")


def fed(
    model: ModelProto, values: dict[str, Any], outputs: list[str], seed: int = 0
) -> dict[str, np.ndarray]:
    """Return the inputs, random where only a shape is given, and cotangents."""
    rng = np.random.default_rng(seed)
    feeds = {
        k: v if isinstance(v, np.ndarray) else rng.normal(size=v).astype("f4")
        for k, v in values.items()
    }
    for name, y in run(model, feeds, outputs).items():
        feeds[f"ct::{name}"] = rng.normal(size=y.shape).astype(y.dtype)
    return feeds


@pytest.mark.parametrize("name", CASES)
def test_builders_agree_where_onnxruntime_training_alone_is_wrong(
    training: Path, name: str
) -> None:
    text, values, wrt, outputs = CASES[name]
    model = parsed(text)

    native, other = both(model, fed(model, values, outputs.split()), wrt.split(), outputs.split())

    for key, want in native.items():
        assert other[key].shape == want.shape, key
        np.testing.assert_allclose(other[key], want, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("opset", [11, 13, 17, 22, 25])
def test_old_opsets_are_kept_and_new_ones_converted_down(training: Path, opset: int) -> None:
    axes = "<axes=[1]>(b)" if opset < 13 else "(b, i)"
    model = parsed(
        "(float[N,6,4] x, int64[1] i) => (float[N,1,4] y)"
        f" {{ a = Relu(x) b = Softmax(a) y = ReduceSum{axes} }}",
        opset,
    )
    feeds = fed(model, {"x": (2, 6, 4), "i": np.int64([1])}, ["y"])

    native, other = both(kept(model), feeds, ["x"], ["y"])

    assert relative(other["x"], native["x"]) <= 1e-6


@pytest.mark.parametrize("dtype", ["float16", "float", "double"])
def test_dtypes(training: Path, dtype: str) -> None:
    model = parsed(
        f"({dtype}[N,3] x, {dtype}[3,2] w) => ({dtype}[N,2] y)"
        " { a = Sum(x, x) b = MatMul(a, w) c = Sum(b, b) y = Softmax(c) }"
    )
    kind = helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    rng = np.random.default_rng(1)
    feeds = {"x": (4, 3), "w": (3, 2), "ct::y": (4, 2)}
    native, other = both(
        model, {k: rng.normal(size=v).astype(kind) for k, v in feeds.items()}, ["x", "w"], ["y"]
    )
    for key, want in native.items():
        assert other[key].dtype == kind
        assert relative(other[key], want) <= {2: 3e-3, 4: 1e-6, 8: 1e-14}[kind.itemsize]


def test_its_gradient_can_be_differentiated_again(training: Path) -> None:
    model = parsed(
        "(float[N,3] x) => (float[N,3] y)"
        " { h = Identity(x) a = Tanh(h) b = Mul(a, h) c = Relu(b) y = Softmax(c) }"
    )
    feeds = fed(model, {"x": (2, 3)}, ["y"])
    feeds["ct::grad::h"] = np.random.default_rng(3).normal(size=(2, 3)).astype("f4")
    seconds = []
    for builder in ("native", "ort-training"):
        first = vjp_model(model, ["h"], ["y"], builder=builder)
        seconds.append(run(vjp_model(first, ["x"], ["grad::h"]), feeds)["grad::x"])
    assert np.linalg.norm(seconds[0]) > 0.01
    assert relative(seconds[1], seconds[0]) <= 1e-6


# ---- refusals


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_gets_wrong_is_refused_in_words(training: Path, name: str) -> None:
    text, wrt, words = REFUSED[name]
    model = parsed(text, 24 if name == "too-new" else 20)
    model.graph.node[-1 if len(model.graph.node) == 1 else 0].name = "product"
    with pytest.raises(UnsupportedOp, match=words) as caught:
        vjp_model(model, [wrt], ["y"], builder="ort-training")
    assert "/onnxruntime_src" not in str(caught.value)
    assert caught.value.hint == "use the native gradient builder"


def test_models_below_opset_11_are_refused() -> None:
    model = kept(parsed("(float[3] x) => (float[3] y) { y = Relu(x) }", 9))
    with pytest.raises(UnsupportedOp, match="starts at opset 11"):
        vjp_model(model, ["x"], ["y"], builder="ort-training")


def test_overrides_do_not_reach_into_it() -> None:
    model = parsed("(float[3] x) => (float[3] y) { y = Relu(x) }")
    with pytest.raises(UsageError, match="overrides"):
        vjp_model(
            model, ["x"], ["y"], builder="ort-training", overrides={"Relu": lambda op, n, dy: dy}
        )


# ---- the process and its environment


def test_without_the_environment_it_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ort_training.PYTHON_VARIABLE, str(tmp_path / "python"))
    model = parsed("(float[3] x) => (float[3] y) { y = Relu(x) }")
    with pytest.raises(UsageError, match=r"is not there\. Make it with .*envs.py ort-training"):
        vjp_model(model, ["x"], ["y"], builder="ort-training")


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo free: invalid pointer >&2; kill -SEGV $$", "SIGSEGV: free: invalid pointer"),
        ("kill -ABRT $$", "SIGABRT: no word"),
        ("echo No module named onnxruntime >&2; exit 3", "ended with 3: No module named onnxrun"),
        ("sleep 60", "did not come back within 1 s"),
    ],
)
def test_a_process_that_dies_becomes_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, words: str
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv(ort_training.PYTHON_VARIABLE, str(stand_in))
    monkeypatch.setattr(ort_training, "_SECONDS", 1)
    model = parsed("(float[3] x) => (float[3] y) { y = Relu(x) }")
    with pytest.raises(UnsupportedOp, match=words):
        vjp_model(model, ["x"], ["y"], builder="ort-training")


def _prepared(model: ModelProto, wrt: str, output: str) -> Prepared | None:
    draft = Draft(load(model))
    y = draft.tensor(output)
    return prepare(draft.op, [(y, draft.input("ct", np.float32, None))], [draft.tensor(wrt)])


def test_weights_and_what_is_not_on_the_path_stay_here() -> None:
    model = parsed(
        "(float[N,1000] x) => (float[N,1000] y)"
        " { a = MatMul(x, w) b = Relu(a) c = MatMul(b, w) d = Exp(x) y = Add(c, d) }"
    )
    weight = np.zeros((1000, 1000), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    prepared = _prepared(model, "b", "y")
    assert prepared is not None
    assert prepared.proto.ByteSize() < 1000
    assert [n.op_type for n in prepared.proto.graph.node] == ["MatMul", "Add", "Identity"]


def test_shapes_and_axes_are_sent() -> None:
    model = parsed("(float[N,6] x) => (float[N,2,3] y) { y = Reshape(x, s) }")
    model.graph.initializer.append(numpy_helper.from_array(np.int64([-1, 2, 3]), "s"))
    prepared = _prepared(model, "x", "y")
    assert prepared is not None
    assert [n.op_type for n in prepared.proto.graph.node] == ["Constant", "Reshape", "Identity"]


def test_nothing_is_sent_where_nothing_depends() -> None:
    model = parsed("(float[3] x) => (float[3] y) { y = Round(x) }")
    assert _prepared(model, "x", "y") is None


def test_a_forward_pass_that_it_extends_is_not_run_twice(training: Path) -> None:
    """It asks MaxPool for its indices, and LayerNormalization for its statistics."""
    model = parsed(
        "(float[N,2,6,6] x) => (float[N,2,3,3] y)"
        " { a = Relu(x) y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a) }"
    )
    grads = [vjp_model(model, ["x"], ["y"], builder=b) for b in ("native", "ort-training")]
    pools = [sum(n.op_type == "MaxPool" for n in g.graph.node) for g in grads]
    assert pools[1] == pools[0]
