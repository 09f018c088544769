"""Expected gradients from a feature layer on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import tee
from typing import Any

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient import backgrounds, rounds
from onnxcam.methods.gradient.expected_gradients import NOISE, SAMPLES, draws
from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import (
    Activation,
    Array,
    Ask,
    Background,
    FeatureGradient,
    Input,
    LayerOf,
    Random,
    SlopeOfInputs,
)
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method


def _in_graph(
    op: Emitter, a: Tensor, layer_of: Any, slope_of: Any, axes: Axes, *,
    samples: int, background: str, noise: float,
) -> Tensor:  # fmt: skip
    """Write the mean over draws that are the file's own, one after another."""
    rng, kind = np.random.default_rng(0), np.dtype(np.float32)
    starts, items = backgrounds.drawn(op, background, samples, rng, kind)

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        def start(inner: Emitter, x: Tensor, own: Axes) -> Tensor:
            return starts.at(inner, x, own, item)

        def end(inner: Emitter, x: Tensor, own: Axes) -> Tensor:
            drawn = rounds.normal(inner, x, own, inner.Add(item[0], samples))
            return inner.Add(x, inner.Mul(drawn, rounds.deviation(inner, x, own, noise)))

        def between(inner: Emitter, x: Tensor, own: Axes) -> Tensor:
            first, last = start(inner, x, own), end(inner, x, own) if noise else x
            return inner.Add(first, inner.Mul(inner.Sub(last, first), inner.cast(item[1], x)))

        there = layer_of(body, end) if noise else a
        way = body.Sub(there, layer_of(body, start))
        return [body.Add(sums[0], body.Mul(way, body.cast(slope_of(body, between), a)))]

    (total,) = rounds.rounds(op, a, items, 1, one)
    return channel_sum(op, op.Div(total, float(samples)), axes)


@sampled_method(
    "layer-expected-gradients",
    kind="repeated",
    needs=(Input, Activation, LayerOf, FeatureGradient, Background, Random),
    cite="Erion et al., Improving Performance of Deep Learning Models with Axiomatic Attribution "
    "Priors and Expected Gradients, Nature Machine Intelligence 2021, equation 3; "
    "LayerGradientShap of Captum",
    parameters=(SAMPLES, backgrounds.BACKGROUND, NOISE),
    cost=Cost(4, "samples"),
    signed=True,
    anytime=True,
    claim=(
        "The share of each position of the layer in the difference between the score and the mean "
        "score of the background."
    ),
    limits=(
        "The layer is taken to move straight while the input does: the map sums up to the "
        "difference only as far as it does. Everything is against the background. As coarse as "
        "the layer. What reaches the score without passing the layer has no share. An average of "
        "draws: see its standard error. Between numbers of tokens there is nothing: of text, use "
        "layer-deeplift-shap."
    ),
    form=((Activation, LayerOf, SlopeOfInputs), _in_graph),
)
def layer_expected_gradients(
    x: Array, a: Array, features: Ask, gradients: Ask, others: Array | None,
    rng: np.random.Generator, *, samples: int, background: str, noise: float,
) -> Estimate:  # fmt: skip
    """M = sum_k E[(A_k(x) - A_k(b)) dy/dA_k (b + t (x - b))], b of the background, t ~ U(0, 1).

    The draws are those of `expected-gradients`; with `noise` x is the input with noise on it in
    each, as in Captum's LayerGradientShap.
    """
    del background  # the file that `others` were read from
    ends, path = tee(draws(x, others, rng, samples, noise))

    def both_ends() -> Iterator[Array]:
        for start, end, _ in ends:
            yield start
            if noise:
                yield end

    asked = iter(features(both_ends()))
    shares, each = Moments(), Moments()
    between = (start + t * (end - start) for start, end, t in path)
    for slope in gradients(between, samples * (3 if noise else 2)):
        there = next(asked, None)
        last = next(asked, None) if noise else a
        if there is None or last is None:  # ended early
            break
        share = (last - there) * slope.astype(np.float64)
        each.add(share)
        shares.add(share.sum(1))
    next(asked, None)  # so that the last batch is counted
    if not shares.count:
        nothing_yet = np.zeros((len(slope), *a.shape[1:]))
        return Estimate(nothing_yet, np.full_like(nothing_yet, np.inf))
    return Estimate(shares.mean, shares.error, relief=each.mean)
