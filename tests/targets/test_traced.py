"""Functions over the array API standard: what they write, held against NumPy and torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer, OnnxcamError, UsageError, convert
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model, load
from onnxcam.run.session import Session
from onnxcam.targets import Function
from onnxcam.targets.traced import Namespace

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 4, 3)).astype("f4")
Y = RNG.normal(size=(2, 4, 3)).astype("f4")
POSITIVE = np.abs(X) + 0.1


def _base() -> Model:
    nodes = [helper.make_node("Identity", ["x"], ["z"])]
    return load(nets.model(nodes, {"x": ["N", 4, 3]}, {"z": ["N", 4, 3]}))


def _run(function: Callable[..., Any], x: np.ndarray) -> np.ndarray:
    """Return what the nodes compute that a function of (namespace, array) writes."""
    draft = Draft(_base())
    space = Namespace(draft.op)
    made = function(space, space.wrap(draft.tensor("z")))
    draft.output(made.tensor, "out")
    session = Session(draft.finish(), device="cpu", threads=1)
    (found,) = session.run({"x": x}, ["out"])
    return found


# Each is asked of the namespace, and then of NumPy itself, which follows the standard.
OF_ONE = (
    "abs", "atan", "asinh", "ceil", "cos", "cosh", "exp", "expm1", "floor", "isfinite", "isinf",
    "isnan", "logical_not", "negative", "positive", "round", "sign", "sin", "sinh", "square",
    "tan", "tanh", "trunc", "all", "any", "argmax", "argmin", "max", "mean", "min", "prod", "std",
    "sum", "var", "matrix_transpose", "zeros_like", "ones_like", "permute_dims", "flip",
)  # fmt: skip
OF_POSITIVE = ("log", "log1p", "log2", "log10", "sqrt", "reciprocal")
OF_SMALL = ("acos", "asin", "atanh")
OF_TWO = (
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "less_equal", "greater",
    "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor",
    "floor_divide", "remainder", "hypot", "logaddexp",
)  # fmt: skip
MORE: dict[str, Callable[[Any, Any], Any]] = {
    "acosh": lambda xp, y: xp.acosh(xp.abs(y) + 1.5),
    "pow": lambda xp, y: xp.pow(y, 3) + y**2 + xp.abs(y) ** 0.5,
    "where": lambda xp, y: xp.where(y > 0, y, 0.25 * y),
    "clip": lambda xp, y: xp.clip(y, -0.5, 0.5) + xp.clip(y, min=0.1) + xp.clip(y, max=0.1),
    "operators": lambda xp, y: 1 - 2 / (y * y + 1) + (-y) % 0.7 + y // 0.3 + abs(y) - 3 * +y,
    "truths": lambda xp, y: (y > 0) & (y < 1) | ~(y >= -1) ^ (y == 1) | (y != 2) & (y <= 0),
    "whole numbers": lambda xp, y: xp.astype(y * 5, xp.int64) // 2 + xp.astype(y * 5, xp.int64) % 3,
    "int part": lambda xp, y: y[:, 1],
    "last": lambda xp, y: y[..., -1],
    "slices": lambda xp, y: y[:, 1:3, ::-1],
    "steps": lambda xp, y: y[:, ::-2, :2],
    "new axes": lambda xp, y: y[:, None, ..., 0, None],
    "sum over two": lambda xp, y: xp.sum(y, axis=(1, 2)),
    "kept": lambda xp, y: y - xp.mean(y, axis=-1, keepdims=True),
    "argmax of an axis": lambda xp, y: xp.argmax(y, axis=1),
    "correction": lambda xp, y: xp.std(y, axis=2, correction=1),
    "matmul": lambda xp, y: y @ xp.matrix_transpose(y),
    "constants": lambda xp, y: y @ np.arange(6).reshape(3, 2).astype("f4"),
    "vecdot": lambda xp, y: xp.vecdot(y, y),
    "norm": lambda xp, y: xp.linalg.vector_norm(y, axis=1),
    "norm of 1": lambda xp, y: xp.linalg.vector_norm(y, axis=1, ord=1),
    "highest": lambda xp, y: xp.linalg.vector_norm(y, axis=1, ord=np.inf),
    "reshape": lambda xp, y: xp.reshape(y, (-1, 12)),
    "concat": lambda xp, y: xp.concat([y, y[:, :1]], axis=1),
    "flat": lambda xp, y: xp.concat([y, y], axis=None),
    "stack": lambda xp, y: xp.stack([y, 2 * y], axis=-1),
    "squeeze": lambda xp, y: xp.squeeze(xp.expand_dims(y, axis=1), axis=1),
    "moveaxis": lambda xp, y: xp.moveaxis(y, 0, -1),
    "unstack": lambda xp, y: xp.unstack(y, axis=1)[2],
    "take": lambda xp, y: xp.take(y, xp.asarray([2, 0]), axis=1),
    "along": lambda xp, y: xp.take_along_axis(y, xp.argmax(y, axis=1, keepdims=True), axis=1),
    "broadcast": lambda xp, y: xp.broadcast_to(y[:, :1], (2, 5, 3)),
    "sort": lambda xp, y: xp.sort(y, axis=1) + xp.astype(xp.argsort(y, axis=2), xp.float32),
    "cumulative": lambda xp, y: xp.cumulative_sum(y, axis=1),
    "made": lambda xp, y: y * xp.arange(3) + xp.eye(4, 3) + xp.linspace(0, 1, 3) + xp.ones((1, 1)),
    "full": lambda xp, y: xp.full_like(y, 7) + xp.zeros((3,)) + xp.full((1,), 2.5),
    "promoted": lambda xp, y: xp.astype(y > 0, xp.float32) * y + xp.argmax(y, axis=1)[:, None, :],
    "numbers": lambda xp, y: y * xp.pi + xp.e + (xp.finfo(y.dtype).bits if y.ndim == 3 else 0),
}
EXTRA = {
    "softmax": lambda y: np.exp(y) / np.exp(y).sum(-1, keepdims=True),
    "log_softmax": lambda y: y - np.log(np.exp(y).sum(-1, keepdims=True)),
    "sigmoid": lambda y: 1 / (1 + np.exp(-y)),
    "relu": lambda y: np.maximum(y, 0),
}


def _held(name: str, function: Callable[[Any, Any], Any], x: np.ndarray) -> None:
    got, want = _run(function, x), function(np, x)
    assert got.shape == want.shape, name
    assert (got.dtype.kind == "b") == (want.dtype.kind == "b"), name
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6, err_msg=name)


def test_functions_of_one_array_are_numpys() -> None:
    for names, x in ((OF_ONE, X), (OF_POSITIVE, POSITIVE), (OF_SMALL, np.tanh(X))):
        for name in names:
            _held(name, lambda xp, y, name=name: getattr(xp, name)(y), x)


def test_functions_of_two_arrays_are_numpys() -> None:
    for name in OF_TWO:
        _held(name, lambda xp, y, name=name: getattr(xp, name)(y, xp.flip(y, axis=1)), X)
        _held(name, lambda xp, y, name=name: getattr(xp, name)(y, xp.asarray(0.5)), X)


@pytest.mark.parametrize("name", MORE)
def test_what_is_written_is_numpys(name: str) -> None:
    _held(name, MORE[name], X)


def test_what_the_standard_lacks() -> None:
    for name, want in EXTRA.items():
        got = _run(lambda xp, y, name=name: getattr(xp, name)(y), X)
        np.testing.assert_allclose(got, want(X), rtol=1e-5, atol=1e-6, err_msg=name)


def test_every_function_has_a_case() -> None:
    tried = {*OF_ONE, *OF_POSITIVE, *OF_SMALL, *OF_TWO, *EXTRA}
    text = " ".join([*MORE, *(c for f in MORE.values() for c in f.__code__.co_names)])
    space = Namespace(Draft(_base()).op)
    left = set(space.names()) - tried - set(text.split())
    assert left <= {"isdtype", "iinfo", "result_type", "zeros"} | {"vector_norm", "asarray"}, left
    assert space.isdtype(space.float32, "real floating") and not space.isdtype(
        space.bool, "numeric"
    )
    assert space.isdtype(space.int64, ("bool", "integral")) and space.iinfo(space.int8).max == 127


CNN = np.random.default_rng(3).normal(size=(3, 2, 6, 6)).astype("f4")
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "a class": lambda y: y[:, 2],
    "a margin": lambda y: y[:, 2] - y[:, :2].max(axis=1),
    "a probability": lambda y: y.__array_namespace__().softmax(y)[:, 1],
    "of NumPy": lambda y: np.sum(np.exp(y) * np.tanh(y), axis=1),
    "chosen": lambda y: np.where(y[:, 0] > y[:, 1], y[:, 0], 2 * y[:, 1]),
    "sorted": lambda y: y.__array_namespace__().sort(y, axis=1)[:, 1],
    "a norm": lambda y: (y * y).sum(axis=1) ** 0.5,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_gradient_is_torchs(name: str) -> None:
    """The net's logits are linear behind the ReLU, so torch needs its head alone."""
    torch = pytest.importorskip("torch")
    weights = {t.name: np.array(t.float_data or None) for t in nets.cnn().graph.initializer}
    assert weights
    explainer = Explainer(nets.cnn(), "hirescam", device="cpu", threads=1)
    logits = np.stack([e.scores for e in explainer(list(CNN[:, None]), target=0)])
    y = torch.tensor(logits, requires_grad=True)
    _of_torch(name, torch, y).sum().backward()
    each = [[e.signed_map for e in explainer(x[None], target=[0, 1, 2])] for x in CNN]
    for x, slopes, maps in zip(CNN, y.grad.numpy(), each, strict=True):
        want = sum(s * m for s, m in zip(slopes, maps, strict=True))  # HiResCAM is linear
        got = explainer(x[None], target=FUNCTIONS[name]).signed_map
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def _of_torch(name: str, torch: Any, y: Any) -> Any:
    return {
        "a class": lambda: y[:, 2],
        "a margin": lambda: y[:, 2] - y[:, :2].amax(1),
        "a probability": lambda: torch.softmax(y, 1)[:, 1],
        "of NumPy": lambda: (torch.exp(y) * torch.tanh(y)).sum(1),
        "chosen": lambda: torch.where(y[:, 0] > y[:, 1], y[:, 0], 2 * y[:, 1]),
        "sorted": lambda: torch.sort(y, 1).values[:, 1],
        "a norm": lambda: y.norm(dim=1),
    }[name]()


def test_a_function_of_several_tensors() -> None:
    explainer = Explainer(nets.cnn(), "hirescam", device="cpu", threads=1)
    both = Function(lambda y, a: y[:, 1] + 3 * a.mean(axis=(1, 2, 3)), of=["logits", "relu"])
    found, one = explainer(CNN[:1], target=[both, 1])
    feature = Session(explainer.model, device="cpu", threads=1)
    assert feature.outputs == ("logits",)
    want = np.maximum(one.signed_map, one.signed_map)
    mean = Function(lambda a: 3 * a.mean(axis=(1, 2, 3)), of="relu")
    np.testing.assert_allclose(
        found.signed_map, want + explainer(CNN[:1], target=mean).signed_map, rtol=1e-4, atol=1e-6
    )
    assert found.target == -1 and found.quantity == "function lambda"


def test_a_function_is_several_inputs_own() -> None:
    explainer = Explainer(nets.cnn(), device="cpu", threads=1)
    together = explainer(list(CNN[:, None]), target=FUNCTIONS["a margin"])
    for x, found in zip(CNN, together, strict=True):
        alone = explainer(x[None], target=FUNCTIONS["a margin"])
        np.testing.assert_allclose(found.map, alone.map, rtol=1e-5, atol=1e-6)
        assert found.score == pytest.approx(alone.score, rel=1e-5)


def test_a_converted_model_explains_a_function() -> None:
    made = convert(nets.cnn(), target=FUNCTIONS["a margin"], check=True)
    session = Session(made.explained.model, device="cpu", threads=1)
    (found,) = session.run({"x": CNN}, ["onnxcam.map"])
    want = Explainer(nets.cnn(), device="cpu", threads=1)(list(CNN[:, None]), FUNCTIONS["a margin"])
    np.testing.assert_allclose(found[:, 0], [e.map for e in want], rtol=1e-4, atol=1e-5)


def test_one_number_for_several_inputs_is_refused_when_it_shows() -> None:
    explainer = Explainer(nets.cnn(), device="cpu", threads=1)
    assert explainer(CNN[:1], target=lambda y: y[:1, 0]).map.any()
    with pytest.raises(UsageError, match="gave 1 numbers for 3 inputs"):
        explainer(list(CNN[:, None]), target=lambda y: y[:1, 0])


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "of all classes": (lambda y: y, r"has the shape \['N', 3\].*\[N\]"),
    "of one input": (lambda y: y[0], r"has the shape \[3\].*\[N\]"),
    "of no axes": (lambda y: y.sum(), r"has the shape \[\].*\[N\]"),
    "bool": (lambda y: y[:, 0] if y[:, 1] > 0 else y[:, 2], "the truth.*where"),
    "and": (lambda y: y[:, 0] and y[:, 1], "the truth"),
    "float": (lambda y: float(y[0, 1]), r"float\(\)"),
    "int": (lambda y: int(y[0, 1]), r"int\(\)"),
    "an index": (lambda y: [1, 2, 3][y[0, 1]], "index"),
    "materialised": (np.asarray, "NumPy array"),
    "a NumPy function": (lambda y: np.linalg.norm(y, axis=1), "NumPy's norm"),
    "a ufunc's method": (lambda y: np.add.reduce(y, axis=1), r"add\.reduce"),
    "a mask": (lambda y: y[y > 0], "indexed by"),
    "a list": (lambda y: y[:, [0, 1]], "indexed by list.*take"),
    "out of range": (lambda y: y[:, 7], r"index 7 is out of range for axis 1.*-3 to 2"),
    "no axis": (lambda y: y.sum(axis=4), "has no axis 4"),
    "too many parts": (lambda y: y[0, 0, 0], "it has 2 axes|It has 2 axes"),
    "no function": (lambda y: y.__array_namespace__().softmx(y), "softmax"),
    "two tensors": (lambda y, z: y[:, 0] + z[:, 0], r"of=\[...\]"),
    "a number": (lambda y: 3, "returned int"),
    "nothing": (lambda y: None, "returned NoneType"),
    "a comparison": (lambda y: y[:, 0] > 0, "of bool"),
    "in place": (lambda y: y.__setitem__(0, 1), "in place"),
    "its length": (len, "length"),
    "shapes that do not go": (lambda y: y[:, :2] * y, "cannot be traced"),
    "a fault of its own": (lambda y: {}["x"], "KeyError"),
    "text": (lambda y: y + "a", "no array of numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_is_refused(name: str) -> None:
    explainer = Explainer(nets.cnn(), device="cpu", threads=1)
    function, said = REFUSED[name]
    with pytest.raises(UsageError, match=said):
        explainer(CNN[:1], target=function)


def test_wrong_tensors_and_wrong_targets_are_refused() -> None:
    explainer = Explainer(nets.cnn(), device="cpu", threads=1)
    with pytest.raises(UsageError, match="no tensor 'logit'.*logits"):
        explainer(CNN[:1], target=Function(lambda y: y[:, 0], of=["logit"]))
    with pytest.raises(UsageError, match="no function"):
        Function(3)  # type: ignore[arg-type]
    with pytest.raises(OnnxcamError, match="target of type float"):
        explainer(CNN[:1], target=1.5)  # type: ignore[call-overload]
    assert explainer(CNN[:1], target=np.int64(1)).target == 1  # type: ignore[call-overload]
