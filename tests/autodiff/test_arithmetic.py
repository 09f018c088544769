"""Arithmetic of several inputs: broadcasting, every operand, zeros and ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support.gradcheck import run
from support.rule_cases import Case, check_all, check_dtypes, check_twice
from support.variants import node_model

from onnxcam.autodiff import vjp_model

RNG = np.random.default_rng(3)
OFFSETS = itertools.cycle(np.arange(1, 8) / 64 + 0.125)


def _away(*shape: int) -> np.ndarray:
    """Return numbers of both signs, none near 0, no two equal, exact in half precision."""
    numbers = RNG.permutation(np.arange(1, 1 + int(np.prod(shape)))) / 8 + next(OFFSETS)
    return (numbers * RNG.choice([-1, 1], numbers.shape)).reshape(shape)


A, ROW, COLUMN, ONE = _away(2, 3), _away(3), _away(2, 1), _away()
BLOCK = _away(2, 1, 3)
CASES = {
    f"{op.lower()} {name}": Case(op, {"a": a, "b": b})
    for op in ("Add", "Sub", "Mul", "Div")
    for name, (a, b) in {
        "same": (A, _away(2, 3)),
        "row": (A, ROW),
        "column first": (COLUMN, A),
        "scalar": (A, ONE),
        "both grow": (COLUMN, ROW),
        "ranks": (BLOCK, COLUMN),
        "one element": (_away(1), A),
    }.items()
} | {
    "pow": Case("Pow", {"a": np.abs(A), "b": ROW}),
    "pow of a negative": Case(
        "Pow", {"a": A, "b": np.array(3.0)}, options={"wrt": ["a"]}, twice=False),
    "pow by int": Case("Pow", {"a": A, "b": np.array([2, 0, -1])}),
    "pow 2": Case("Pow", {"a": A, "b": np.array(2.0)}, constant=("b",)),
    "pow 1": Case("Pow", {"a": A, "b": np.array([1.0])}, constant=("b",)),
    "pow 3": Case("Pow", {"a": A, "b": np.array(3)}, constant=("b",)),
    "pow 1/2": Case("Pow", {"a": np.abs(A), "b": np.array(0.5)}, constant=("b",)),
    "pow -2": Case("Pow", {"a": A, "b": np.array(-2)}, constant=("b",)),
    "pow 0": Case("Pow", {"a": A, "b": np.array(0.0)}, constant=("b",)),
    "pow 2 that broadcasts": Case(
        "Pow", {"a": ROW, "b": np.array([[2.0]])}, constant=("b",)),
    "mod": Case("Mod", {"a": A, "b": np.array([0.75, 1.375, -0.625])}, {"fmod": 1}),
    "where": Case("Where", {"c": RNG.random((2, 3)) > 0.5, "a": A, "b": ROW}),
    "where that grows": Case("Where", {"c": np.array([[True], [False]]), "a": ROW, "b": ONE}),
    "sum": Case("Sum", {"a": A, "b": ROW, "c": ONE}),
    "sum of one": Case("Sum", {"a": A}),
    "mean": Case("Mean", {"a": A, "b": COLUMN, "c": ROW}),
    "max": Case("Max", {"a": A, "b": -A, "c": ROW}),
    "max of one": Case("Max", {"a": A}),
    "min": Case("Min", {"a": A, "b": COLUMN}),
    "clip": Case("Clip", {"x": A, "low": np.array(-0.5625), "high": np.array(0.3125)}),
    "clip, constant": Case("Clip", {"x": A, "low": np.array(-0.5625), "high": np.array(0.5625)},
                           constant=("low", "high",)),
    "clip below": Case("Clip", {"x": A, "low": np.array(-0.4375)}),
    "clip above": Case("Clip", {"x": A, "low": None, "high": np.array(0.4375)}),
    "clip, no bounds": Case("Clip", {"x": A}),
    "clip, bounds crossed": Case(
        "Clip", {"x": A, "low": np.array(0.3125), "high": np.array(-0.5625)}),
    "clip 10": Case("Clip", {"x": A}, {"min": -0.5625, "max": 0.3125}, opset=10, keep=True,
                    twice=False),
    "clip 11": Case("Clip", {"x": A, "low": np.array(-0.5625)}, opset=11, keep=True),
}  # fmt: skip
# Inputs and the gradients for dy = 1, where two derivatives could be meant.
CONVENTIONS = {
    "max shares ties": ("Max", {"a": [1.0, 2.0], "b": [1.0, 0.0]}, {"a": [0.5, 1], "b": [0.5, 0]}),
    "min shares ties": ("Min", {"a": [1.0], "b": [1.0], "c": [1.0]},
                        {"a": [1 / 3], "b": [1 / 3], "c": [1 / 3]}),
    "clip is flat at its bounds": ("Clip", {"x": [0.0, 3.0, 6.0], "low": 0.0, "high": 6.0},
                                   {"x": [0, 1, 0], "low": 1, "high": 1}),
    "clip with crossed bounds is its upper one": (
        "Clip", {"x": [0.0, 3.0, 6.0], "low": 4.0, "high": 2.0},
        {"x": [0] * 3, "low": 0, "high": 3}),
    "0^0": ("Pow", {"a": [0.0], "b": [0.0]}, {"a": [0], "b": [0]}),
    "0^2": ("Pow", {"a": [0.0], "b": [2.0]}, {"a": [0], "b": [0]}),
    "0^1": ("Pow", {"a": [0.0], "b": [1.0]}, {"a": [1], "b": [0]}),
    "where ignores what it did not take": (
        "Where", {"c": np.array([True, False]), "a": [1.0, np.inf], "b": [np.nan, 2.0]},
        {"a": [1, 0], "b": [0, 1]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_dtypes(name: str) -> None:
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n].twice])
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


@pytest.mark.parametrize("name", CONVENTIONS)
def test_convention(name: str) -> None:
    op, inputs, wanted = CONVENTIONS[name]
    arrays = {k: np.asarray(v) for k, v in inputs.items()}
    feeds = {k: v.astype("f4") if v.dtype.kind == "f" else v for k, v in arrays.items()}
    grad = vjp_model(node_model(op, feeds), list(wanted), ["y"])
    shape = np.broadcast_shapes(*(v.shape for v in feeds.values()))
    got = run(grad, {**feeds, "ct::y": np.ones(shape, "f4")})
    for key, value in wanted.items():
        np.testing.assert_allclose(got[f"grad::{key}"], value, rtol=1e-6, err_msg=key)
