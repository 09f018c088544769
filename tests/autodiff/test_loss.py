"""Dropout in both modes; the losses, by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradcheck import run
from support.rule_cases import Case, check_all, check_twice
from support.variants import frozen, node_model

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp

X = (np.arange(12) / 8 - 0.7).reshape(3, 4)
INFERENCE = {
    "as it is": Case("Dropout", {"x": X}),
    "with a mask": Case("Dropout", {"x": X}, outputs=("y", "mask")),
    "with a ratio": Case("Dropout", {"x": X, "ratio": np.array(0.25)}),
    "told so": Case("Dropout", {"x": X, "ratio": np.array(0.25), "training": np.array(False)},
                    outputs=("y", "mask")),
    "opset 7": Case("Dropout", {"x": X}, {"ratio": 0.25}, opset=7, keep=True),
}  # fmt: skip


@pytest.mark.parametrize("name", INFERENCE)
def test_dropout_in_inference(name: str) -> None:
    case = INFERENCE[name]
    if name == "opset 7":  # the reference evaluator takes it for training
        feeds = case.cast("f4")
        grad = vjp_model(case.model("f4"), ["x"], ["y"])
        assert (run(grad, {**feeds, "ct::y": feeds["x"]})["grad::x"] == feeds["x"]).all()
        return
    check_all(case)


@pytest.mark.parametrize("frozen_switch", [False, True])
@pytest.mark.parametrize("ratio", [None, 0.25])
def test_dropout_in_training_passes_what_its_mask_kept(
    frozen_switch: bool, ratio: float | None
) -> None:
    feeds = {"x": np.full((40, 50), 2, "f4"), "training": np.array(True)}
    given = {"x": feeds["x"], "ratio": None if ratio is None else np.array(ratio, "f4"),
             "training": feeds["training"]}  # fmt: skip
    model = node_model("Dropout", given, ("y", "mask"))
    if frozen_switch:
        model = frozen(model, feeds, ["training"])
    feeds |= {} if ratio is None else {"ratio": given["ratio"]}
    wrt = ["x"] if ratio is None else ["x", "ratio"]
    got = run(vjp_model(model, wrt, ["y"]), {**feeds, "ct::y": np.ones((40, 50), "f4")})
    scale = 1 / (1 - (0.5 if ratio is None else ratio))
    assert 0 < got["mask"].sum() < 2000
    np.testing.assert_allclose(got["grad::x"], got["mask"] * scale)
    if ratio is not None:
        np.testing.assert_allclose(got["grad::ratio"], (got["y"] * scale).sum(), rtol=1e-4)


def test_dropout_in_training_without_its_mask_says_what_to_do() -> None:
    feeds = {"x": X.astype("f4"), "ratio": None, "training": np.array(True)}
    with pytest.raises(UnsupportedOp, match="Export the model for inference"):
        vjp_model(node_model("Dropout", feeds), ["x"], ["y"])


PLACES = [(), (5,), (2, 3)]


def _scores(space: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(space))
    return rng.integers(-8, 9, (3, 4, *space)) / 4, rng.integers(0, 4, (3, *space))


@pytest.mark.parametrize("space", PLACES, ids=str)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("op", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
@pytest.mark.parametrize("more", ["", "weight", "ignore", "both"])
def test_losses(op: str, reduction: str, space: tuple[int, ...], more: str) -> None:
    scores, target = _scores(space)
    attributes: dict = {"reduction": reduction}
    feeds = {"x": scores, "t": target}
    if more in ("weight", "both"):
        feeds["w"] = np.array([0.5, 1.0, 2.0, 0.25])
    if more in ("ignore", "both"):
        attributes["ignore_index"] = -5  # the reference evaluator takes -1 for "none is ignored"
        target[0] = -5
    case = Case(op, feeds, attributes, twice=op.startswith("Soft"))
    case.check()
    case.check(symbolic=True, constant=["t"])


def test_cross_entropy_with_its_log_probabilities() -> None:
    scores, target = _scores((2,))
    case = Case("SoftmaxCrossEntropyLoss", {"x": scores, "t": target}, outputs=("y", "log"))
    check_all(case)
    check_twice(case)


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_random_draws_carry_no_gradient(op: str) -> None:
    feeds = {"x": np.full((2, 3), 0.5, "f4")}
    grad = vjp_model(node_model(op, feeds), ["x"], ["y"])
    assert not run(grad, {**feeds, "ct::y": np.ones((2, 3), "f4")})["grad::x"].any()
