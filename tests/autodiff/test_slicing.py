"""Slice and Pad: signs, steps, bounds out of range, computed settings, every mode."""

from __future__ import annotations

import numpy as np
import pytest
from support.rule_cases import Case, check_all, check_dtypes, check_old, check_twice

X = (np.random.default_rng(1).permutation(60) / 16 - 1.25).reshape(3, 4, 5)
FAR = np.iinfo(np.int64).max


def _slice(starts, ends, axes=None, steps=None) -> Case:
    lists = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    feeds = {k: None if v is None else np.array(v, np.int64) for k, v in lists.items()}
    return Case("Slice", {"x": X, **feeds})


def _pad(pads, mode="constant", value=None, axes=None, x=X) -> Case:
    feeds = {"x": x, "pads": np.array(pads, np.int64)}
    if value is not None or axes is not None:
        feeds["value"] = None if value is None else np.array(value)
    if axes is not None:
        feeds["axes"] = np.array(axes, np.int64)
    return Case("Pad", feeds, {"mode": mode})


CASES = {
    "slice": _slice([1, 0, 1], [3, 2, 5]),
    "slice from the start": _slice([0], [2]),
    "slice of all": _slice([0], [FAR], [1]),
    "slice of an axis": _slice([1], [3], [1]),
    "slice, negative axis": _slice([1], [FAR], [-1]),
    "slice, negative bounds": _slice([-3], [-1], [2]),
    "slice, bounds out of range": _slice([-9, 2], [2, 99], [1, 2]),
    "slice, start behind the end": _slice([7], [9], [1]),
    "slice, empty": _slice([2], [2], [1]),
    "slice, steps": _slice([0, 1], [4, 5], [1, 2], [2, 3]),
    "slice backwards": _slice([-1], [-FAR], [2], [-1]),
    "slice backwards in steps": _slice([4, 2], [0, -FAR], [2, 0], [-3, -2]),
    "pad": _pad([1, 0, 2, 0, 1, 1]),
    "pad, value": _pad([1, 0, 2, 0, 1, 1], value=2.5),
    "pad, one value in a vector": _pad([1, 0, 2, 0, 1, 1], value=[2.5]),
    "pad, axes": _pad([1, 2, 0, 1], axes=[2, 0]),
    "pad, negative axes": _pad([1, 2], axes=[-2]),
    "pad nothing": _pad([0] * 6),
    "pad, negative": _pad([-1, 0, -2, 0, -1, 0]),
    "pad, of both signs": _pad([-1, 1, 0, 2, -1, -2], value=0.5),
    "reflect": _pad([1, 0, 2, 0, 3, 4], "reflect"),
    "edge": _pad([1, 0, 2, 0, 5, 1], "edge"),
    "wrap": _pad([1, 0, 2, 0, 3, 1], "wrap"),
    "reflect, axes": _pad([2, 1], "reflect", axes=[1]),
    "edge, value given": _pad([1, 0, 2, 0, 5, 1], "edge", value=3.0),
}
OLD = {
    "slice 9": Case("Slice", {"x": X}, {"starts": [1, -2], "ends": [3, FAR], "axes": [0, 2]},
                    opset=9),
    "pad 10": Case("Pad", {"x": X}, {"pads": [1, 0, 0, 0, 2, 0], "value": 1.5}, opset=10),
    "pad 10, negative": Case("Pad", {"x": X}, {"pads": [-1, 0, 0, 0, -2, 1]}, opset=10),
    "pad 13": Case("Pad", {"x": X, "pads": np.array([1, 0, 0, 0, 2, 0]), "v": np.array(0.5)},
                   opset=13),
    "reflect 16": Case("Pad", {"x": X, "pads": np.array([1, 0, 0, 0, 2, 0])}, {"mode": "reflect"},
                       opset=16),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_dtypes(name: str) -> None:
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


@pytest.mark.parametrize("name", OLD)
@pytest.mark.parametrize("keep", [False, True])
def test_old_opsets(name: str, keep: bool) -> None:
    check_old(OLD[name], keep=keep)


@pytest.mark.parametrize("seed", range(12))
def test_random_slices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    axes = rng.permutation(3)[:rank]
    steps = rng.choice([-3, -2, -1, 1, 2, 3], rank)
    case = _slice(rng.integers(-7, 8, rank), rng.integers(-7, 8, rank), axes, steps)
    check_all(case)
