"""Conductance and internal influence: integrated gradients that are read at a feature layer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.methods.gradient.integrated_gradients import BASELINE, GOLDEN
from onnxcam.methods.needs import Activation, Array, Ask, FeatureAndGradient, Input
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Cost, Estimate, sampled_method

STEPS = Parameter("steps", int, 50, 1, 10_000, "number of inputs between the baseline and x")


@sampled_method(
    "conductance",
    kind="repeated",
    needs=(Input, Activation, FeatureAndGradient),
    cite="Dhamdhere, Sundararajan and Yan, How Important Is a Neuron?, ICLR 2019, equation 3",
    parameters=(STEPS, BASELINE),
    cost=Cost(3, "steps"),
    anytime=True,
    signed=True,
    claim=(
        "The share of each position of the layer in the difference between the score and that of "
        "the baseline, where all of the score passes the layer; the map sums up to it."
    ),
    limits=(
        "Everything is against the baseline. As coarse as the layer. What reaches the score "
        "without passing the layer has no share."
    ),
)
def conductance(x: Array, a: Array, both: Ask, *, steps: int, baseline: float) -> Estimate:
    """M = sum_k integral of dy/dA_k dA_k along the straight path from the baseline to the input.

    The features A move along the path of the input; the integral is the sum over steps of their
    difference times the mean of the gradients at its two ends (the trapezoid rule). Captum has
    the gradient at the end of each. The path is walked from the input back: where it ends early
    the map is that against the point that was reached, which `reached` says as a part of the way.
    """
    ends = np.linspace(1, 0, steps + 1)
    path = (np.float32(baseline) + np.float32(t) * (x - np.float32(baseline)) for t in ends)
    answers = (each.astype(np.float64) for each in both(path, steps + 1))
    before = next(answers)  # [K, 2, C, *space]: features, gradients
    total, walked = np.zeros_like(before[:, 0]), 0
    for here in answers:
        total += (before[:, 0] - here[:, 0]) * (before[:, 1] + here[:, 1]) / 2
        before, walked = here, walked + 1
    facts = {} if walked == steps else {"reached": np.full(len(total), walked / steps)}
    return Estimate(total.sum(1), relief=total, facts=facts)


@sampled_method(
    "internal-influence",
    kind="repeated",
    needs=(Input, Activation, FeatureAndGradient),
    cite="Leino et al., Influence-Directed Explanations for Deep Convolutional Networks, ITC 2018, "
    "definition 1",
    parameters=(STEPS, BASELINE),
    cost=Cost(3, "steps"),
    anytime=True,
    signed=True,
    claim="How much the score would change with each position of the layer, on the way to x.",
    limits=(
        "A mean gradient: says nothing of how active the layer is there. Everything is against the "
        "baseline. As coarse as the layer."
    ),
)
def internal_influence(x: Array, a: Array, both: Ask, *, steps: int, baseline: float) -> Estimate:
    """M = sum_k integral_0^1 dy/dA_k (b + t (x - b)) dt; signed.

    The integral is by Gauss-Legendre quadrature, as Captum's InternalInfluence is.
    """
    places, weights = np.polynomial.legendre.leggauss(steps)
    order = np.argsort(np.arange(steps) * GOLDEN % 1)

    def path() -> Iterator[Array]:
        for i in order:
            share = np.float32((places[i] + 1) / 2)
            yield np.float32(baseline) + share * (x - np.float32(baseline))

    total, taken = np.zeros(()), 0.0
    for here, i in zip(both(path()), order, strict=False):
        total, taken = (
            total + weights[i] / 2 * here[:, 1].astype(np.float64),
            taken + weights[i] / 2,
        )
    relief = total / taken
    return Estimate(relief.sum(1), relief=relief)
