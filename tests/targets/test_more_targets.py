"""Log-probability, a sigmoid's sign, Finer-CAM, similarity and places: gradients of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer, UsageError, convert
from onnxcam.run.session import Session
from onnxcam.targets import At, Binary, Finer, LogProbability, Margin, Score, Similarity, Target

torch = pytest.importorskip("torch")
X = np.random.default_rng(3).normal(size=(3, 2, 6, 6)).astype("f4")
INPUTS = list(X[:, None])
REFERENCE = np.array([0.3, -1, 2, 0.5, 0.1], "f4")


def _explainer(final: str = "", classes: int = 5, **options: Any) -> Explainer[Any]:
    """Return HiResCAM, which is linear in the gradient of a net with this last function."""
    proto = nets.cnn(classes=classes, softmax=final == "Softmax")
    if final == "Sigmoid":
        proto.graph.node.add(op_type="Sigmoid", input=["logits"], output=["prob"])
        proto.graph.output[0].name = "prob"
    return Explainer(proto, "hirescam", device="cpu", threads=1, **options)


def _finer(y: Any, c: int, others: int = 3, strength: float = 1.0) -> Any:
    rest = [k for k in range(y.shape[1]) if k != c]
    near = sorted(rest, key=lambda k: abs(float(y[0, k] - y[0, c])))[:others]
    return y[:, c] - strength * y[:, near].mean(1)


Case = tuple[str, Target, Callable[[Any], Any]]
CASES: dict[str, Case] = {
    "softmax": ("Softmax", LogProbability(2), lambda y: torch.log_softmax(y, 1)[:, 2]),
    "plain": ("", LogProbability(1), lambda y: torch.log_softmax(y, 1)[:, 1]),
    "sigmoid": ("Sigmoid", LogProbability(3), lambda y: torch.nn.functional.logsigmoid(y)[:, 3]),
    "yes": ("Sigmoid", Binary(2, True), lambda y: y[:, 2]),
    "no": ("Sigmoid", Binary(2, False), lambda y: -y[:, 2]),
    "its own": ("Sigmoid", Binary(1), lambda y: y[:, 1].abs()),
    "finer": ("", Finer(2), lambda y: _finer(y, 2)),
    "finer by half": ("", Finer(0, 1, 0.5), lambda y: _finer(y, 0, 1, 0.5)),
    "similarity": (
        "", Similarity(REFERENCE),
        lambda y: torch.cosine_similarity(y, torch.tensor(REFERENCE)[None]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_torchs(name: str) -> None:
    final, target, twin = CASES[name]
    explainer = _explainer(final)
    for x, found in zip(INPUTS, explainer(INPUTS, target=target), strict=True):
        rows = explainer(x, target=[0, 1, 2, 3, 4])
        y = torch.tensor(rows[0].scores[None], requires_grad=True)
        value = twin(y)
        value.sum().backward()
        want = sum(s * e.signed_map for s, e in zip(y.grad[0].numpy(), rows, strict=True))
        np.testing.assert_allclose(found.signed_map, want, rtol=1e-4, atol=1e-6)
        assert found.score == pytest.approx(float(value.detach()[0]), rel=1e-5)


def test_a_log_probability_of_probabilities_is_their_logarithm() -> None:
    explainer = _explainer("Softmax", reduction_layer="prob")
    found = explainer(INPUTS[0], target=LogProbability(2))
    plain = _explainer("Softmax")(INPUTS[0], target=LogProbability(2))
    np.testing.assert_allclose(found.signed_map, plain.signed_map, rtol=1e-3, atol=1e-6)
    assert found.score == pytest.approx(plain.score, rel=1e-5)
    assert _explainer("Sigmoid", reduction_layer="prob")(INPUTS[0], target=Binary(2)).map.shape


def test_a_single_sigmoid_says_yes_or_no() -> None:
    explainer = _explainer("Sigmoid", classes=1)
    for x in INPUTS:
        yes, no, own = explainer(x, target=[Binary(positive=p) for p in (True, False, None)])
        np.testing.assert_array_equal(yes.signed_map, -no.signed_map)
        said = yes if yes.scores[0] > 0 else no
        np.testing.assert_array_equal(own.signed_map, said.signed_map)
        assert own.score == abs(yes.score) and own.quantity == "score for its own answer"


def test_a_similarity_refers_to_an_input_or_its_scores() -> None:
    explainer = _explainer()
    reference = explainer.scores(INPUTS[1])
    np.testing.assert_allclose(reference, explainer(INPUTS[1], target=0).scores)
    both = explainer(INPUTS[0], target=[Similarity(reference), Similarity(input=INPUTS[1])])
    np.testing.assert_array_equal(both[0].map, both[1].map)
    assert explainer(INPUTS[1], target=Similarity(reference)).score == pytest.approx(1, abs=1e-6)
    assert both[0].target == -1 and both[0].title.startswith("similarity")
    with pytest.raises(UsageError, match="holds 3 inputs"):
        explainer.scores(X)


def _tokens(first: str = "N") -> Any:
    """Return a net with scores [N, T, C], or [T, N, C]: a product at every step of the tokens."""
    rng = np.random.default_rng(2)
    swap = [helper.make_node("Transpose", ["y"], ["z"], perm=[1, 0, 2])] if first == "T" else []
    shape = {"N": ["N", 7, 5], "T": [7, "N", 5]}[first]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[2, 0]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", "v"], ["y"]),
        *swap,
    ]
    weights = {
        "w": rng.normal(size=(4, 2, 3)).astype("f4"),
        "v": rng.normal(size=(4, 5)).astype("f4"),
    }
    return nets.model(nodes, {"x": ["N", 2, 7]}, {"z" if swap else "y": shape}, weights)


def test_a_place_is_one_step_of_a_sequence() -> None:
    x = np.random.default_rng(5).normal(size=(1, 2, 7)).astype("f4")
    for first in "NT":
        explainer = Explainer(
            _tokens(first), "hirescam", feature_layer="r", class_axis=2, device="cpu", threads=1
        )
        each = explainer(x, target=[At(t, 3) for t in range(7)])
        whole = explainer(x, target=3)
        np.testing.assert_allclose(sum(e.raw_map for e in each), whole.raw_map, rtol=1e-4)
        for t, e in enumerate(each):  # the product is at each step alone
            assert not np.delete(e.signed_map, t).any()
            assert e.quantity == f"score at {t}"
        last = explainer(x, target=At(-1, 3))
        np.testing.assert_array_equal(last.map, each[-1].map)


def test_the_class_at_a_place_is_the_highest_there() -> None:
    x = np.random.default_rng(5).normal(size=(1, 2, 7)).astype("f4")
    explainer = Explainer(_tokens(), "hirescam", class_axis=2, device="cpu", threads=1)
    (scores,) = Session(explainer.model, device="cpu", threads=1).run({"x": x}, ["y"])
    found = explainer(x, target=[At(t) for t in range(7)])
    assert [e.target for e in found] == scores[0].argmax(1).tolist()
    np.testing.assert_allclose([e.score for e in found], scores[0].max(1), rtol=1e-5)


def test_a_converted_model_has_the_same_targets() -> None:
    for target in (LogProbability(2), Finer(1), Similarity(REFERENCE), Margin(1)):
        proto = nets.cnn(classes=5)
        made = convert(proto, target=target)
        (found,) = Session(made.explained.model, device="cpu", threads=1).run(
            {"x": X[:1]}, ["onnxcam.map"]
        )
        want = Explainer(proto, device="cpu", threads=1)(X[:1], target=target).map
        np.testing.assert_allclose(found[0, 0], want, rtol=1e-3, atol=1e-5)


REFUSED: dict[str, tuple[str, Callable[[], Target], str]] = {
    "no sigmoid": ("", lambda: Binary(1), "no Sigmoid"),
    "of a softmax": ("Softmax", lambda: Binary(1), "no Sigmoid"),
    "too many others": ("", lambda: Finer(0, 5), "5 classes"),
    "no others": ("", lambda: Finer(0, 0), "at least 1"),
    "other size": ("", lambda: Similarity(np.ones(4)), r"\[4\].*\['N', 5\]"),
    "zero": ("", lambda: Similarity(np.zeros(5)), "not all zero"),
    "matrix": ("", lambda: Similarity(np.ones((2, 5))), r"float64\[2, 5\]"),
    "neither": ("", Similarity, "one reference"),
    "no places": ("", lambda: At(0, 1), "no positions"),
    "no number": ("", lambda: At("last"), "no place"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_target_of_a_model_is_refused(name: str) -> None:
    final, target, said = REFUSED[name]
    with pytest.raises(UsageError, match=said):
        _explainer(final)(INPUTS[0], target=target())


def test_a_place_out_of_range_is_refused() -> None:
    x = np.zeros((1, 2, 7), "f4")
    explainer = Explainer(_tokens(), class_axis=2, device="cpu", threads=1)
    for place in (7, -8, (1, 2)):
        with pytest.raises(UsageError, match=r"positions.*\[7\]"):
            explainer(x, target=At(place, 0))
    assert explainer(x, target=Score(0)).map.shape == (7,)
