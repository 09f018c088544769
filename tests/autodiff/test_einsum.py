"""Einsum: contraction, sums, diagonals, ellipses, broadcasting, any number of operands."""

from __future__ import annotations

import numpy as np
import pytest
from support.rule_cases import Case, check_all, check_twice

SIZES = dict(zip("ijkbhqd", (2, 3, 4, 2, 3, 5, 2), strict=True))
RNG = np.random.default_rng(4)
EQUATIONS = {
    "product": "ij,jk->ik",
    "product, implicit": "ij,jk",
    "batches": "bij,bjk->bik",
    "attention": "bhqd,bhkd->bhqk",
    "outer": "i,j->ij",
    "inner": "i,i->",
    "inner, implicit": "i,i",
    "elementwise": "ij,ij->ji",
    "a sum": "ij->",
    "a row sum": "ij->i",
    "transposition": "ijk->kij",
    "transposition, implicit": "ba",
    "a factor summed alone": "ij,k->i",
    "a factor all summed": "ij,k->ij",
    "three factors": "ij,jk,k->i",
    "two diagonals": "ii,ii->i",
    "diagonal": "ii->i",
    "trace": "ii->",
    "diagonal of a batch": "bii->bi",
    "trace, implicit": "ii",
    "diagonal, product": "ii,ij->j",
    "triple diagonal": "iii->i",
    "spaces": " i j , j k -> i k ",
    "a scalar": ",ij->ij",
    "capitals": "Ij,jK->IK",
}
SIZES |= {"a": 3, "I": 2, "K": 4}
ELLIPSES = {
    "batches": ("...ij,...jk->...ik", (2, 3, 2, 4), (2, 3, 4, 5)),
    "batches, implicit": ("...ij,...jk", (2, 2, 4), (2, 4, 3)),
    "one has none": ("...ij,jk->...ik", (2, 3, 2, 4), (4, 5)),
    "diagonal behind it": ("...ii->...i", (2, 3, 3), None),
    "in the middle": ("i...j,j->i...", (2, 3, 4), (4,)),
}
STRETCHED = {  # where onnx infers the result's shape rightly, which it does not always
    "a label of size 1": ("ij,jk->ik", (2, 3), (1, 4)),
}


def _operand(shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(RNG.integers(-8, 9, shape) / 4)


def _case(equation: str, *shapes: tuple[int, ...] | None) -> Case:
    feeds = {f"x{i}": _operand(s) for i, s in enumerate(shapes) if s is not None}
    return Case("Einsum", feeds, {"equation": equation})


CASES = {
    **{
        name: _case(e, *(tuple(SIZES[c] for c in t)
                         for t in e.replace(" ", "").partition("->")[0].split(",")))
        for name, e in EQUATIONS.items()
    },
    **{f"ellipsis: {name}": _case(*row) for name, row in ELLIPSES.items()},
    **{f"stretched: {name}": _case(*row) for name, row in STRETCHED.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_double_and_second_derivative(name: str) -> None:
    CASES[name].check(np.float64)
    check_twice(CASES[name])
