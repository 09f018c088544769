"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor, dtype_of
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient import rounds
from onnxcam.methods.needs import Array, Input, OwnScore, SlopeAt, Straight, Ways
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method

_MISSED = 0.05  # a completeness error of this part of the difference in the score
_SOME = 8  # arrays that are added up in single precision

GOLDEN = (5**0.5 - 1) / 2
BASELINE = Parameter(
    "baseline", float, 0.0, -1e6, 1e6,
    "value of every number of the prepared input that stands for nothing",
)  # fmt: skip


def _in_graph(
    op: Emitter, x: Tensor, slope_at: rounds.SlopeAt, axes: Axes, *, steps: int, baseline: float
) -> Tensor:
    """Write the sum over the steps: one after another, with one gradient in memory."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    kind = dtype_of(x) or np.dtype(np.float32)
    items = [((places + 1) / 2).astype(kind), (weights / 2).astype(kind)]
    way = op.Sub(x, baseline)

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        at = body.Add(body.Mul(way, item[0]), baseline)
        return [body.Add(sums[0], body.Mul(slope_at(body, body.typed(at, x)), item[1]))]

    (total,) = rounds.rounds(op, x, items, 1, one)
    return channel_sum(op, op.Mul(way, total), axes)


@sampled_method(
    "integrated-gradients",
    kind="repeated",
    needs=(Input, Straight, OwnScore),
    cite="Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, equation 1",
    parameters=(
        Parameter("steps", int, 50, 1, 10_000, "number of inputs between the baseline and x"),
        BASELINE,
    ),
    cost=Cost(3, "steps"),
    anytime=True,
    signed=True,
    claim=(
        "The share of each input value in the difference between the score and that of the "
        "baseline; the map sums up to it."
    ),
    limits=(
        "Everything is against the baseline: what equals it gets nothing, whatever it does, and "
        "another baseline gives another map. Noisy."
    ),
    form=((Input, SlopeAt), _in_graph),
)
def integrated_gradients(
    x: Array, straight: Callable[[Sequence[Array]], Ways], own: Array, *, steps: int,
    baseline: float,
) -> Estimate:  # fmt: skip
    """M = sum_c (x_c - b_c) integral_0^1 dy/dx_c (b + t (x - b)) dt; signed.

    The integral is by Gauss-Legendre quadrature, as Captum's is. The completeness error is
    sum(M) - (y(x) - y(b)), which the exact integral makes 0.
    """
    ways = straight([np.full_like(x, baseline)])
    parts = shares(x, ways, [(baseline, steps)])
    signed = parts.sum(1)
    nothing = ways.score(0)
    if nothing is None:  # ended early
        return Estimate(signed, relief=parts)
    rise = own.astype(np.float64) - nothing
    missed = signed.reshape(len(signed), -1).sum(1) - rise
    doubts = tuple(map(doubt, missed, rise))
    facts = {"completeness_error": missed}
    return Estimate(signed, facts=facts, doubts=doubts, relief=parts)


def shares(x: Array, ways: Ways, plan: Sequence[tuple[float, int]]) -> Array:
    """Return (x - b) times the mean gradient from b to x, [K, C, *space], averaged over baselines.

    The steps come in a scattered order, so that what has ended early is of the whole way, with the
    weights of the steps that were taken.

    Args:
        x: The input [C, *space].
        ways: The straight ways from inputs of the baselines.
        plan: Each baseline and how many steps lie between it and the input.
    """
    points = []
    for start, (_, steps) in enumerate(plan):
        places, weights = np.polynomial.legendre.leggauss(steps)
        points += [(start, (t + 1) / 2, w / 2) for t, w in zip(places, weights, strict=True)]
    order = [points[i] for i in np.argsort(np.arange(len(points)) * GOLDEN % 1)]
    sums = [_Sum() for _ in plan]
    slopes = ways.gradients((start, t) for start, t, _ in order)
    for (start, _, weight), slope in zip(order, slopes, strict=False):
        sums[start].add(slope, weight)
    found: list[Array] = [
        (x.astype(np.float64) - baseline) * ways.at_input(each.total) / each.weight
        for (baseline, _), each in zip(plan, sums, strict=True)
        if each.weight
    ]
    return np.asarray(np.mean(found, 0))


class _Sum:
    """A weighted sum of many arrays: some in single precision, these in double.

    Attributes:
        weight: The sum of the weights.
    """

    def __init__(self) -> None:
        self.weight, self._count = 0.0, 0

    def add(self, value: Array, weight: float) -> None:
        """Add an array, float32, which is lost; all have one shape."""
        if not self.weight:
            self._sum, self._some = np.zeros(value.shape), np.zeros(value.shape, np.float32)
        self.weight, self._count = self.weight + weight, self._count + 1
        np.multiply(value, np.float32(weight), out=value)
        self._some += value
        if self._count % _SOME == 0:
            self._fold()

    @property
    def total(self) -> Array:
        """The sum, float64."""
        self._fold()
        return self._sum

    def _fold(self) -> None:
        self._sum += self._some
        self._some[...] = 0


def doubt(missed: float, rise: float) -> str | None:
    """Return what is wrong with a map that does not sum up to the rise of the score, in words."""
    if not abs(missed) > _MISSED * abs(rise):  # nor of NaN
        return None
    return (
        f"incomplete: the map sums up to {rise + missed:.4g}, the score differs from the "
        f"baseline's by {rise:.4g}; take more steps"
    )
