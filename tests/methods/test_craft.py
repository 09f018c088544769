"""Concepts with their indices: planted ones, a bank, a naive version, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer
from onnxcam.errors import InputError, UsageError
from onnxcam.methods.cam.factors import amounts
from onnxcam.methods.perturb import variance
from onnxcam.run.session import Session

pytest.importorskip("sklearn")

SIDE = 6
# Features of the planted concepts, no two of which share a channel.
BANK = np.array([[1, 2, 0, 0, 0], [0, 0, 3, 0, 1], [0, 0, 0, 1, 0]], "f4")
WEIGHTS = np.array([[2, -1], [0.5, 0], [-1, 1], [0.2, 3], [0, 1]], "f4")  # of two classes


def _net(curved: bool = False) -> Any:
    """The layer is the input; the scores are of its channels' means."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["z" if curved else "y"]),
    ]
    if curved:
        nodes.append(helper.make_node("Tanh", ["z"], ["y"]))
    return nets.model(nodes, {"x": ["N", 5, SIDE, SIDE]}, {"y": ["N", 2]}, {"w": WEIGHTS})


def _planted() -> tuple[np.ndarray, np.ndarray]:
    """Return an input [1, 5, 6, 6] in which three concepts lie apart, and how much of each."""
    amount = np.zeros((3, SIDE, SIDE), "f4")
    amount[0, :3, :3], amount[1, 3:, :3], amount[2, :, 4:] = 1, 0.5, 2
    return np.tensordot(BANK.T, amount, 1)[None].astype("f4"), amount


def _found(proto: Any, x: np.ndarray, target: Any, **settings: Any) -> Any:
    explain: Any = Explainer(
        proto, "craft", feature_layer="a", parameters=settings, device="cpu", threads=1,
        upsampling="none", seed=3,
    )  # fmt: skip
    return explain(x, target)


@pytest.fixture
def bank(tmp_path: Path) -> str:
    np.save(tmp_path / "bank.npy", BANK)
    return str(tmp_path / "bank.npy")


def _facts(found: Any) -> np.ndarray:
    names = [name for name in found.parameters if name.startswith("importance_")]
    return np.array([found.parameters[name] for name in names])


@pytest.mark.parametrize("target", [0, 1])
def test_planted_concepts_have_the_indices_of_a_linear_model(target: int, bank: str) -> None:
    """Of independent masks from 0 to 1 an index is (a concept's share)^2 over the sum of them."""
    x, amount = _planted()
    share = (BANK @ WEIGHTS[:, target]) * amount.mean((1, 2))
    found = _found(_net(), x, target, bank=bank, designs=512)
    want = share**2 / (share**2).sum()
    np.testing.assert_allclose(_facts(found), want, atol=0.05)
    best = int(want.argmax())
    assert found.parameters["concept_shown"] == best and found.parameters["left"] < 1e-5
    length = np.linalg.norm(BANK[best])
    np.testing.assert_allclose(
        found.signed_map, _facts(found)[best] * amount[best] * length, rtol=1e-4, atol=1e-6
    )
    away = abs(_facts(found)[best] - want[best]) * amount[best].max() * length
    assert away <= 4 * found.standard_error.max() + 1e-6


def test_without_a_bank_the_planted_concepts_are_found() -> None:
    x, amount = _planted()
    for number in range(3):
        found = _found(_net(), x, 0, concepts=3, concept=number, designs=8)
        there = found.signed_map > 1e-3 * found.signed_map.max()
        assert any((there == (each > 0)).all() for each in amount)
    assert found.parameters["left"] < 0.01


def test_a_naive_version_on_what_is_not_linear(bank: str) -> None:
    rng = np.random.default_rng(4)
    x = np.abs(rng.normal(size=(1, 5, SIDE, SIDE))).astype("f4")
    found = _found(_net(curved=True), x, 1, bank=bank, designs=16)
    columns = (BANK / np.linalg.norm(BANK, axis=1, keepdims=True)).T.astype(float)
    amount = amounts(x[0].reshape(5, -1).astype(float), columns)
    session, answers = Session(_net(curved=True), device="cpu"), []
    for mask in variance.designs(3, 16, np.random.default_rng(3)):
        layer = (columns @ (mask[:, None] * amount)).reshape(x.shape).astype("f4")
        answers.append(session.run({"x": layer})[0][0, 1])
    rows = np.array(answers).reshape(16, 4)
    gone = ((rows[:, :1] - rows[:, 1:]) ** 2).mean(0)
    np.testing.assert_allclose(_facts(found), gone / (2 * rows[:, 0].var(ddof=1)), rtol=1e-3)


def test_amounts_by_hand() -> None:
    """Least squares that may not be negative: (1, -1) has nothing of the second concept."""
    columns = np.array([[1.0, 0], [0, 1], [0, 0]])
    got = amounts(np.array([[1, 2.0], [-1, 3], [5, 5]]), columns)
    np.testing.assert_allclose(got, [[1, 2], [0, 3]], atol=1e-12)


def test_indices_by_hand() -> None:
    """Of two designs of one number: A = 0 and 2, C = 1 and 2."""
    indices, error = variance.total_indices(np.array([[0.0], [1], [2], [2]]), 1)
    np.testing.assert_allclose(indices, [[0.5 / (2 * 2)]])
    np.testing.assert_allclose(error, [[np.std([1, 0], ddof=1) / 2**0.5 / 4]])
    indices, error = variance.total_indices(np.array([[0.0], [1], [2]]), 1)
    assert not indices.any() and np.isinf(error).all()


def test_what_is_no_bank_and_no_concept_is_refused(tmp_path: Path, bank: str) -> None:
    x, _ = _planted()
    np.save(tmp_path / "wrong.npy", np.ones((3, 4)))
    with pytest.raises(InputError, match="no concepts of this layer: its shape is .3, 4., and"):
        _found(_net(), x, 0, bank=str(tmp_path / "wrong.npy"))
    with pytest.raises(InputError, match="cannot be read"):
        _found(_net(), x, 0, bank=str(tmp_path / "none.npy"))
    with pytest.raises(UsageError, match="concept 3 is asked for, and there are 3"):
        _found(_net(), x, 0, bank=bank, concept=3)


def test_a_layer_that_the_concepts_do_not_make_up_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", BANK[2:])
    x, _ = _planted()
    x[0, 3] *= 0.1
    found = _found(_net(), x, 1, bank=str(tmp_path / "b.npy"))
    assert found.parameters["left"] > 0.9
    assert any(said.startswith("the concepts leave") for said in found.diagnosis)


def test_features_below_0_are_left_and_said() -> None:
    """Tokens behind a layer normalisation are half below 0, of which no concept is made."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 5, SIDE, SIDE]}, {"y": ["N", 2]}, {"w": WEIGHTS})
    x, _ = _planted()
    found = _found(proto, x - x.mean(1, keepdims=True) * 2, 0)
    assert found.parameters["left"] > 0.5
    assert any(said.startswith("the concepts leave") for said in found.diagnosis)
