"""Expected gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Background, Input, InputGradient, Random
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Cost, Estimate, sampled_method

BACKGROUND = Parameter(
    "background", str, "", None, None,
    "file of prepared inputs that stand for nothing in particular: .npy [n, ...], in the model's "
    "axes; without it, copies of the input with its positions in random order",
)  # fmt: skip


@sampled_method(
    "expected-gradients",
    kind="repeated",
    needs=(Input, InputGradient, Background, Random),
    cite="Erion et al., Improving Performance of Deep Learning Models with Axiomatic Attribution "
    "Priors and Expected Gradients, Nature Machine Intelligence 2021, equation 3",
    parameters=(
        Parameter("samples", int, 50, 2, 1_000_000, "number of draws"),
        BACKGROUND,
        Parameter(
            "noise",
            float,
            0.0,
            0,
            10,
            "standard deviation of noise on the input in each draw, as a part of its range; "
            "GradientShap's",
        ),
    ),
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
)
def expected_gradients(
    x: Array, gradients: Ask, others: Array | None, rng: np.random.Generator, *,
    samples: int, background: str, noise: float,
) -> Estimate:  # fmt: skip
    """M = sum_c E[(x_c - b_c) dy/dx_c (b + t (x - b))], b of the background, t ~ U(0, 1).

    Each draw has a background and a t of its own, as in the paper. With `noise` the end of a draw
    is the input with noise on it, in the place of x: Captum's GradientShap. Without a background
    the draws are the input with its positions in random order: the same colours, and nothing in
    its place; the paper always has a background.
    """
    del background  # the file that `others` were read from
    drawn: list[Array] = []
    spread = noise * float(x.max() - x.min())

    def path() -> Iterator[Array]:
        for _ in range(samples):
            start = _shuffled(x, rng) if others is None else _one(others, rng)
            end = x + spread * rng.standard_normal(x.shape) if noise else x
            drawn.append(end - start)
            yield start + rng.random() * (end - start)

    shares, each = Moments(), Moments()
    for slope in gradients(path()):
        share = drawn.pop(0) * slope.astype(np.float64)
        each.add(share)
        shares.add(share.sum(1))
    return Estimate(shares.mean, shares.error, relief=each.mean)


def _one(background: Array, rng: np.random.Generator) -> Array:
    chosen: Array = background[rng.integers(len(background))]
    return chosen


def _shuffled(x: Array, rng: np.random.Generator) -> Array:
    """Return the input with its positions in random order, the channels of each together."""
    flat = x.reshape(len(x), -1)
    return flat[:, rng.permutation(flat.shape[1])].reshape(x.shape)
