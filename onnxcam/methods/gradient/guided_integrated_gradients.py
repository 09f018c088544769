"""Guided integrated gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxcam.methods.gradient.integrated_gradients import BASELINE, doubt
from onnxcam.methods.needs import Array, Ask, Input, InputGradient, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_CLOSE = 1e-9  # of the distance that is left: it has been reached


@sampled_method(
    "guided-integrated-gradients",
    kind="repeated",
    needs=(Input, InputGradient, Score),
    cite="Kapishnikov et al., Guided Integrated Gradients, CVPR 2021, algorithm 1",
    parameters=(
        Parameter("steps", int, 50, 1, 10_000, "number of steps of the path"),
        BASELINE,
        Parameter(
            "fraction", float, 0.25, 0.001, 1, "part of the input's values that move in a step"
        ),
        Parameter(
            "distance", float, 0.02, 0, 1,
            "most that a value may be ahead of or behind the straight path, as a part of it",
        ),
    ),
    cost=Cost(3, "steps"),
    signed=True,
    claim=(
        "As integrated gradients, along a path on which values with a small gradient move first: "
        "less of what the straight path picks up on its way through inputs that mean nothing."
    ),
    limits=(
        "Everything is against the baseline. The path depends on the model: two models with the "
        "same function have the same map, but a linear part has no longer a share of its own. "
        "One step after another: no batches."
    ),
)  # fmt: skip
def guided_integrated_gradients(
    x: Array, gradients: Ask, scores: Ask, *,
    steps: int, baseline: float, fraction: float, distance: float,
) -> Estimate:  # fmt: skip
    """M = sum_c integral of dy/dx_c dx_c along a path by the smallest |dy/dx_c| first; signed.

    Each step shortens the L1 distance to the input by 1 / steps of the whole. The values with the
    smallest gradients (`fraction` of those that may move) go first, no farther than `distance`
    ahead of the straight path, and none stays farther behind it. As in the authors' code, the
    gradient is that at the start of a step.
    """
    start = np.full(x.shape, baseline, np.float64)
    above, below = scores([x, start])
    found = []
    for k in range(len(above)):

        def slope(at: Array, k: int = k) -> Array:
            (answer,) = gradients([at])
            value: Array = answer[k].astype(np.float64)
            return value

        found.append(_attributed(x.astype(np.float64), start, slope, steps, fraction, distance))
    relief = np.stack(found)
    signed = relief.sum(1)
    rise = above.astype(np.float64) - below
    missed = signed.reshape(len(signed), -1).sum(1) - rise
    doubts = tuple(map(doubt, missed, rise))
    facts = {"completeness_error": missed}
    return Estimate(signed, facts=facts, doubts=doubts, relief=relief)


def _attributed(
    x: Array, start: Array, slope: Callable[[Array], Array], steps: int, fraction: float, far: float
) -> Array:
    """Return the share of each value, by one path."""
    way, at, shares = x - start, start.copy(), np.zeros_like(x)
    whole = np.abs(way).sum()
    for step in range(1, steps + 1):
        if not whole:
            break
        size = slope(at)
        ahead, behind = min(step / steps + far, 1.0), max(step / steps - far, 0.0)
        before = at
        at = _moved(
            x, start, at, np.abs(size), (behind, ahead), whole * (1 - step / steps), fraction
        )
        shares += (at - before) * size
    return shares


def _moved(
    x: Array, start: Array, at: Array, size: Array,
    limits: tuple[float, float], left: float, fraction: float,
) -> Array:  # fmt: skip
    """Return the place on the path from which a distance is left, values of a small size first."""
    way = x - start
    low, high = (start + limit * way for limit in limits)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(way != 0, (at - start) / way, limits[1])
    at = np.where(part < limits[0], low, at)
    size = size.copy()
    while True:
        now = np.abs(at - x).sum()
        if now - left <= _CLOSE * max(1.0, now, left):
            return at
        size[at == high] = np.inf
        limit = np.quantile(size, fraction, method="lower")
        moving = (size <= limit) & np.isfinite(size)
        reach = (np.abs(at - high) * moving).sum()
        part_of_it = (now - left) / reach if reach > 0 else np.inf
        if part_of_it <= 1:
            return np.where(moving, at + part_of_it * (high - at), at)
        if not moving.any():
            return at
        at = np.where(moving, high, at)
