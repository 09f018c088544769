"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor, dtype_of
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient import rounds
from onnxcam.methods.needs import Array, Ask, Input, InputGradient, OwnScore, Score, SlopeAt
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method

_MISSED = 0.05  # a completeness error of this part of the difference in the score


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
    needs=(Input, InputGradient, OwnScore, Score),
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
    x: Array, gradients: Ask, own: Array, scores: Ask, *, steps: int, baseline: float
) -> Estimate:
    """M = sum_c (x_c - b_c) integral_0^1 dy/dx_c (b + t (x - b)) dt; signed.

    The integral is by Gauss-Legendre quadrature, as Captum's is. The completeness error is
    sum(M) - (y(x) - y(b)), which the exact integral makes 0.
    """
    parts = shares(x, gradients, [(baseline, steps)])
    signed = parts.sum(1)
    nothing = list(scores([np.full_like(x, baseline)]))
    if not nothing:  # ended early
        return Estimate(signed, relief=parts)
    rise = own.astype(np.float64) - nothing[0]
    missed = signed.reshape(len(signed), -1).sum(1) - rise
    doubts = tuple(map(doubt, missed, rise))
    facts = {"completeness_error": missed}
    return Estimate(signed, facts=facts, doubts=doubts, relief=parts)


def shares(x: Array, gradients: Ask, ways: Sequence[tuple[float, int]]) -> Array:
    """Return (x - b) times the mean gradient from b to x, [K, C, *space], averaged over baselines.

    The steps come in a scattered order, so that what has ended early is of the whole way, with the
    weights of the steps that were taken.

    Args:
        x: The input [C, *space].
        gradients: Answers with gradients.
        ways: Each baseline and how many steps lie between it and the input.
    """
    points = []
    for baseline, steps in ways:
        places, weights = np.polynomial.legendre.leggauss(steps)
        points += [(baseline, (t + 1) / 2, w / 2) for t, w in zip(places, weights, strict=True)]
    order = [points[i] for i in np.argsort(np.arange(len(points)) * GOLDEN % 1)]
    rises = {b: x - np.float32(b) for b, _, _ in order}
    path = (np.float32(t) * rises[b] + np.float32(b) for b, t, _ in order)
    totals: dict[float, Array] = {}
    taken: dict[float, float] = {}
    term: Array | None = None  # one buffer for all steps
    for (baseline, _, weight), slope in zip(order, gradients(path), strict=False):
        if baseline not in totals:
            totals[baseline], taken[baseline] = np.zeros(slope.shape), 0.0
        term = np.multiply(slope, weight, out=term, dtype=np.float64)
        totals[baseline] += term
        taken[baseline] += weight
    way = {b: x.astype(np.float64) - b for b in totals}
    found: Array = np.mean([way[b] * total / taken[b] for b, total in totals.items()], 0)
    return found


def doubt(missed: float, rise: float) -> str | None:
    """Return what is wrong with a map that does not sum up to the rise of the score, in words."""
    if not abs(missed) > _MISSED * abs(rise):  # nor of NaN
        return None
    return (
        f"incomplete: the map sums up to {rise + missed:.4g}, the score differs from the "
        f"baseline's by {rise:.4g}; take more steps"
    )
