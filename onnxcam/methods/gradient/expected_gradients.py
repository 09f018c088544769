"""Expected gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor, dtype_of
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient import backgrounds, rounds
from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Background, Input, InputGradient, Random, SlopeAt
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method

SAMPLES = Parameter("samples", int, 50, 2, 1_000_000, "number of draws")
NOISE = Parameter(
    "noise", float, 0.0, 0, 10,
    "standard deviation of noise on the input in each draw, as a part of its range; GradientShap's",
)  # fmt: skip


def _in_graph(
    op: Emitter, x: Tensor, slope_at: rounds.SlopeAt, axes: Axes, *,
    samples: int, background: str, noise: float,
) -> Tensor:  # fmt: skip
    """Write the mean over draws that are the file's own, one after another."""
    rng, kind = np.random.default_rng(0), dtype_of(x) or np.dtype(np.float32)
    starts, items = backgrounds.drawn(op, background, samples, rng, kind)
    spread = rounds.deviation(op, x, axes, noise)

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        start = starts.at(body, x, axes, item)
        end = x
        if noise:
            drawn = rounds.normal(body, x, axes, body.Add(item[0], samples))
            end = body.Add(x, body.Mul(drawn, spread))
        way = body.Sub(end, start)
        slope = slope_at(body, body.typed(body.Add(start, body.Mul(way, item[1])), x))
        return [body.Add(sums[0], body.Mul(way, slope))]

    (total,) = rounds.rounds(op, x, items, 1, one)
    return channel_sum(op, op.Div(total, float(samples)), axes)


@sampled_method(
    "expected-gradients",
    kind="repeated",
    needs=(Input, InputGradient, Background, Random),
    cite="Erion et al., Improving Performance of Deep Learning Models with Axiomatic Attribution "
    "Priors and Expected Gradients, Nature Machine Intelligence 2021, equation 3",
    parameters=(SAMPLES, backgrounds.BACKGROUND, NOISE),
    cost=Cost(3, "samples"),
    signed=True,
    anytime=True,
    claim=(
        "The share of each input value in the difference between the score and the mean score of "
        "the background: integrated gradients, averaged over many baselines."
    ),
    limits=(
        "Everything is against the background: another one gives another map. An average of draws: "
        "see its standard error."
    ),
    form=((Input, SlopeAt), _in_graph),
)
def expected_gradients(
    x: Array, gradients: Ask, others: Array | None, rng: np.random.Generator, *,
    samples: int, background: str, noise: float,
) -> Estimate:  # fmt: skip
    """M = sum_c E[(x_c - b_c) dy/dx_c (b + t (x - b))], b of the background, t ~ U(0, 1).

    Each draw has a background and a t of its own, as in the paper. With `noise` the end of a draw
    is the input with noise on it, in the place of x: Captum's GradientShap. Without a background
    the draws are the input with its positions in random order: the same colours, and nothing in
    its place; the paper always has a background. In a converted file the draws are of the file's
    own, the same in every run, and hold the background.
    """
    del background  # the file that `others` were read from
    drawn: list[Array] = []

    def path() -> Iterator[Array]:
        for start, end, t in draws(x, others, rng, samples, noise):
            drawn.append(end - start)
            yield start + t * (end - start)

    shares, each = Moments(), Moments()
    for slope in gradients(path()):
        share = drawn.pop(0) * slope.astype(np.float64)
        each.add(share)
        shares.add(share.sum(1))
    return Estimate(shares.mean, shares.error, relief=each.mean)


def draws(
    x: Array, others: Array | None, rng: np.random.Generator, samples: int, noise: float
) -> Iterator[tuple[Array, Array, float]]:
    """Yield where each draw begins and ends, [C, *space], and which part of the way it is at.

    Args:
        x: The input.
        others: The background; None for the input, mixed up.
        rng: Random numbers.
        samples: How many.
        noise: Standard deviation of the noise on the input, as a part of its range.
    """
    spread = noise * float(x.max() - x.min())
    for _ in range(samples):
        if others is None:
            start = backgrounds.shuffled(x, rng)
        else:
            start = others[rng.integers(len(others))]
        end = x + spread * rng.standard_normal(x.shape) if noise else x
        yield start, end, rng.random()
