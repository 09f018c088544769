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
    anytime=True,
    signed=True,
    unwritten="every step goes where the gradient of the last one leads, by a search of its own",
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
    start, end = np.full(x.shape, baseline, np.float64), x.astype(np.float64)
    ends = list(scores([x, start]))
    ways = [_Way(end, start, steps, fraction, distance) for _ in ends[0]]
    relief = _walked(ways, gradients, steps)
    signed = relief.sum(1)
    if len(ends) < 2 or any(way.left for way in ways):  # ended early
        return Estimate(signed, relief=relief)
    rise = ends[0].astype(np.float64) - ends[1]
    missed = signed.reshape(len(signed), -1).sum(1) - rise
    doubts = tuple(map(doubt, missed, rise))
    return Estimate(signed, facts={"completeness_error": missed}, doubts=doubts, relief=relief)


def _walked(ways: list[_Way], gradients: Ask, steps: int) -> Array:
    """Return the shares of all ways: each goes a step before any goes the next."""
    for _ in range(steps):
        for k, way in enumerate(ways):
            if not way.left:
                continue
            answers = list(gradients([way.at]))
            if not answers:  # stopped: these are the shares so far
                return np.stack([each.shares for each in ways])
            way.step(answers[0][k].astype(np.float64))
    return np.stack([way.shares for way in ways])


class _Way:
    """A path from the baseline to the input, and the shares of the score on it.

    Attributes:
        at: Where it is.
        shares: What each value has had so far.
        left: How many steps are left.
    """

    def __init__(self, x: Array, start: Array, steps: int, fraction: float, far: float) -> None:
        self._x, self._start, self._steps = x, start, steps
        self._fraction, self._far = fraction, far
        self.at, self.shares = start.copy(), np.zeros_like(x)
        self._whole = np.abs(x - start).sum()
        self.left = steps if self._whole else 0

    def step(self, size: Array) -> None:
        """Go a step, by the gradient where it is."""
        done = (self._steps - self.left + 1) / self._steps
        limits = max(done - self._far, 0.0), min(done + self._far, 1.0)
        before, left = self.at, self._whole * (1 - done)
        self.at = _moved(self._x, self._start, before, np.abs(size), limits, left, self._fraction)
        self.shares += (self.at - before) * size
        self.left -= 1


def _attributed(
    x: Array, start: Array, slope: Callable[[Array], Array], steps: int, fraction: float, far: float
) -> Array:
    """Return the share of each value, by one path."""
    way = _Way(x, start, steps, fraction, far)
    while way.left:
        way.step(slope(way.at))
    return way.shares


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
