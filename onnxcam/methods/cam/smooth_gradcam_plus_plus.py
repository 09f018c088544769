"""Smooth Grad-CAM++."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import ratio, space_sum, weighted_sum
from onnxcam.methods.gradient import rounds
from onnxcam.methods.gradient.smoothgrad import NOISE, SAMPLES, noisy
from onnxcam.methods.moments import jackknife
from onnxcam.methods.needs import (
    Activation,
    Array,
    Ask,
    FeatureGradient,
    Input,
    Random,
    SlopeOfInputs,
)
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method

_GROUPS = 10  # of copies, for the standard error


def _in_graph(
    op: Emitter, a: Tensor, slope_of: Any, axes: Axes, *, samples: int, noise: float
) -> Tensor:
    """Write the sums of g, g^2 and g^3 over noisy inputs, one after another."""

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        def changed(inner: Emitter, x: Tensor, own: Axes) -> Tensor:
            spread = rounds.deviation(inner, x, own, noise)
            return inner.Add(x, inner.Mul(rounds.normal(inner, x, own, item[0]), spread))

        g = body.cast(slope_of(body, changed), a)
        square = body.Mul(g, g)
        powers = (g, square, body.Mul(square, g))
        return [body.Add(total, each) for total, each in zip(sums, powers, strict=True)]

    sums = rounds.rounds(op, a, [np.arange(1, samples + 1)], 3, one)
    first, second, third = (op.Div(total, float(samples)) for total in sums)
    below = op.Add(op.Mul(second, 2), op.Mul(third, space_sum(op, a, axes)))
    weights = space_sum(op, op.Mul(ratio(op, second, below), op.Relu(first)), axes)
    return weighted_sum(op, weights, a, axes)


@sampled_method(
    "smooth-gradcam++",
    kind="repeated",
    needs=(Input, Activation, FeatureGradient, Random),
    cite="Omeiza et al., Smooth Grad-CAM++, 2019, arXiv:1908.01224, equations 8 to 10",
    parameters=(SAMPLES, NOISE),
    cost=Cost(2, "samples"),
    rectify=True,
    anytime=True,
    claim="As Grad-CAM++, with derivatives averaged over noisy copies of the input.",
    limits=(
        "The weights are a heuristic; the noise leaves the pictures that the model was trained on. "
        "As coarse as the layer."
    ),
    form=((Activation, SlopeOfInputs), _in_graph),
)
def smooth_gradcam_plus_plus(
    x: Array, a: Array, gradients: Ask, rng: np.random.Generator, *, samples: int, noise: float
) -> Estimate:
    """L = relu(sum_k w_k A_k), w_k = sum over positions of alpha relu(D_1), D_p = mean_i g_i^p.

    alpha = D_2 / (2 D_2 + D_3 sum(A_k)), 0 where the denominator is 0; g_i is the gradient at the
    feature layer for x + e_i, e_i ~ N(0, s^2), s = noise (max x - min x), and A the features of x
    itself. As in Grad-CAM++ powers of the gradient stand for the derivatives of exp(y). torchcam
    takes the last copy's gradient for D_1. In a converted file the noise is of the file's own. The
    standard error is by the jackknife over ten groups of copies.
    """
    sums: list[Array] = [np.zeros(())] * _GROUPS  # of the powers, for every group [3, K, C, ...]
    counts = np.zeros(_GROUPS)
    for number, slope in enumerate(gradients(noisy(x, rng, samples, noise))):
        g, group = slope.astype(np.float64), number % _GROUPS
        sums[group] = sums[group] + np.stack([g, g**2, g**3])
        counts[group] += 1
    used = [group for group in range(_GROUPS) if counts[group]]
    total = np.sum([sums[group] for group in used], 0)
    whole = counts.sum()
    rest = [(total - sums[g]) / (whole - counts[g]) for g in used if whole > counts[g]]
    error = jackknife([_map(each, a) for each in rest] or [_map(total / whole, a)])
    return Estimate(_map(total / whole, a), error)


def _map(means: Array, a: Array) -> Array:
    """Return the map [K, *space] of the mean powers of the gradient [3, K, C, *space]."""
    first, second, third = means
    space = tuple(range(1, a.ndim))
    below = 2 * second + third * a.sum(space, np.float64, keepdims=True)
    alpha = np.divide(second, below, out=np.zeros_like(below), where=below != 0)
    inner = tuple(range(2, first.ndim))
    weights = (alpha * np.maximum(first, 0)).sum(inner)
    return np.asarray(np.tensordot(weights, a, 1))
