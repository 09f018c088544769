"""Targets: each against the chain rule over the Jacobian of the logits, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from support import nets

from onnxcam import Explainer, convert, names
from onnxcam.analysis.layers import catalog
from onnxcam.autodiff import vjp_model
from onnxcam.cli import main
from onnxcam.compose import explain_graph
from onnxcam.errors import UsageError
from onnxcam.methods import find
from onnxcam.model.model import load
from onnxcam.run.session import Session
from onnxcam.targets import Function, Margin, Probability, Score, Sum, Target

X = np.random.default_rng(3).normal(size=(3, 2, 6, 6)).astype("f4")
FEATURE = "relu"


def _jacobian(proto: onnx.ModelProto) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits [N, C] and their derivatives [C, N, ...] at the feature layer."""
    session = Session(vjp_model(proto, [FEATURE], ["logits"]), device="cpu", threads=1)
    rows = []
    logits = np.zeros((len(X), 3), "f4")
    for c in range(3):
        seed = np.zeros((len(X), 3), "f4")
        seed[:, c] = 1
        feeds = {"x": X, "ct::logits": seed}
        logits, gradient = session.run(feeds, ["logits", f"grad::{FEATURE}"])
        rows.append(gradient)
    return logits, np.stack(rows)


def _explained(target: Target, classes: list[int], softmax: bool = False) -> dict[str, np.ndarray]:
    model = load(nets.cnn(softmax=softmax))
    found = catalog(model)
    made = explain_graph(
        model, found, find("gradcam"), feature=found.find(FEATURE), target=target,
        targets=None, default=classes, expose=["gradient"], diagnose=True,
    )  # fmt: skip
    session = Session(made.model, device="cpu", threads=1)
    return dict(zip(session.outputs, session.run({"x": X}), strict=True))


def _softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _probability(z: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = _softmax(z)
    own = np.eye(3)[c]
    value = (p * own).sum(1)
    return value, value[:, None] * (own - p)


def _margin(z: np.ndarray, c: np.ndarray, against: int | None) -> tuple[np.ndarray, np.ndarray]:
    own = np.eye(3)[c]
    other = np.where(own > 0, -np.inf, z).argmax(1) if against is None else np.full(len(z), against)
    weights = own - np.eye(3)[other]
    return (z * weights).sum(1), weights


def _square(op: Any, y: Any) -> Any:
    return op.ReduceSum(op.Mul(y, y), axes=[1], keepdims=0)


CASES: dict[str, tuple[Target, Any]] = {
    "score": (Score(), lambda z, c: ((z * np.eye(3)[c]).sum(1), np.eye(3)[c])),
    "probability": (Probability(), _probability),
    "margin": (Margin(), lambda z, c: _margin(z, c, None)),
    "margin over 1": (Margin(against=1), lambda z, c: _margin(z, c, 1)),
    "sum": (Sum(), lambda z, c: (z.sum(1), np.ones_like(z))),
    "function": (Function(_square), lambda z, c: ((z * z).sum(1), 2 * z)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("classes", [[-1], [0], [2, 0, -1]], ids=["top", "one", "several"])
def test_the_gradient_is_that_of_the_target(name: str, classes: list[int]) -> None:
    target, closed = CASES[name]
    logits, jacobian = _jacobian(nets.cnn())
    got = _explained(target, classes)
    for k, wanted in enumerate(classes):
        index = logits.argmax(1) if wanted < 0 else np.full(len(X), wanted)
        value, weights = closed(logits.astype("f8"), index)
        want = np.einsum("nc,cn...->n...", weights, jacobian)
        np.testing.assert_allclose(got[names.GRADIENT][:, k], want, rtol=1e-4, atol=1e-6)
        if not isinstance(target, Score):
            np.testing.assert_allclose(got[names.VALUE][:, k], value, rtol=1e-5, atol=1e-6)


def test_a_class_adds_nothing_to_the_graph() -> None:
    """The fast case: the score of a class is the one-hot cotangent, as it always was."""
    model = load(nets.cnn())
    found = catalog(model)
    plain = explain_graph(model, found, find("gradcam")).model.light
    asked = explain_graph(model, found, find("gradcam"), target=Score()).model.light
    assert [n.op_type for n in plain.graph.node] == [n.op_type for n in asked.graph.node]
    assert "GatherElements" not in {n.op_type for n in plain.graph.node}


def test_targets_of_several_kinds_in_one_call() -> None:
    explain = Explainer(nets.cnn(), device="cpu", threads=1)
    wanted = [2, Margin(2, 0), Probability(2), Sum(), Margin(1, 0)]
    together = explain(X[:1], target=wanted)
    alone = [explain(X[:1], target=target) for target in wanted]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.map, b.map)
        assert (a.title, a.score, a.target) == (b.title, b.score, b.target)
    assert [e.target for e in together] == [2, 2, 2, -1, 1]
    assert together[1].quantity == "margin over 0"
    assert together[3].as_dict()["target"] is None
    scores = together[0].scores
    assert together[1].score == pytest.approx(scores[2] - scores[0], rel=1e-5)
    assert together[2].score == pytest.approx(together[2].probability, rel=1e-5)


def test_labels_in_a_margin() -> None:
    explain = Explainer(nets.cnn(), labels=["cat", "dog", "cow"], device="cpu", threads=1)
    found = explain(X[:1], target=Margin("dog", "cow"))
    assert found.quantity == "margin over cow" and found.title.startswith("dog margin over cow ")


def _bad_type(op: Any, y: Any) -> Any:
    return 3


REFUSED: dict[str, tuple[Target, str]] = {
    "not reduced": (Function(lambda op, y: op.Relu(y)), r"has the shape \['?N?.*one number"),
    "no tensor": (Function(_bad_type), "returned int, not a tensor"),
    "no floats": (Function(lambda op, y: op.ArgMax(y, axis=1, keepdims=0)), "has no gradient"),
    "same class": (Margin(1, 1), "two classes"),
    "no such class": (Margin(1, 7), "out of range"),
    "no label": (Probability("cat"), "no labels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_target_is_refused(name: str) -> None:
    target, words = REFUSED[name]
    explain = Explainer(nets.cnn(), device="cpu", threads=1)
    with pytest.raises(UsageError, match=words):
        explain(X[:1], target=target)


def test_cam_explains_sums_of_scores_only() -> None:
    explain = Explainer(nets.cnn(), "cam", device="cpu", threads=1)
    margin = explain(X[:1], target=Margin(2, 0))
    one, other = explain(X[:1], target=[2, 0])
    np.testing.assert_allclose(margin.raw_map, one.raw_map - other.raw_map, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="cam explains sums of scores, not a probability"):
        explain(X[:1], target=Probability(2))


def test_a_probability_of_probabilities_is_their_own() -> None:
    proto = nets.cnn(softmax=True)
    explain = Explainer(proto, reduction_layer="prob", device="cpu", threads=1)
    score, probability = explain(X[:1], target=[2, Probability(2)])
    np.testing.assert_allclose(probability.map, score.map, rtol=1e-5)


def test_a_converted_file_explains_a_margin() -> None:
    made = convert(nets.cnn(), target=Margin(2, 0))
    assert made.explained.model.metadata["onnxcam.quantity"] == "margin over 0"
    session = Session(made.explained.model, device="cpu", threads=1)
    (maps,) = session.run({"x": X[:1]}, [names.MAP])
    want = Explainer(nets.cnn(), device="cpu", threads=1)(X[:1], target=Margin(2, 0))
    np.testing.assert_allclose(maps[0, 0], want.map, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--quantity", "margin", "--target", "2", "--against", "0"], "class 2 margin over 0"),
        (["--quantity", "sum"], "sum of the scores"),
        (["--quantity", "probability", "--target", "1"], "class 1"),
        (["--against", "0"], "Add --quantity margin"),
        (["--quantity", "sum", "--target", "1"], "Leave --target out"),
    ],
)
def test_the_shell(words: list[str], said: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(nets.cnn(), "m.onnx")
    np.save("x.npy", X[:1])
    result = CliRunner().invoke(main, ["explain", "m.onnx", "x.npy", "-o", "x.json", *words])
    assert said in result.output, result.output
