"""RISE."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Input, Probability, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import cells
from onnxcam.methods.perturb.masks import interpolated
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "rise",
    kind="sampling",
    needs=(Input, Score, Probability, Random),
    cite="Petsiuk et al., RISE: Randomized Input Sampling for Explanation, BMVC 2018, equation 6",
    parameters=(
        Parameter("masks", int, 4000, 2, 10_000_000, "number of masks"),
        cells(7),
        Parameter("keep", float, 0.5, 0.001, 0.999, "probability that a cell is kept"),
        Parameter(
            "score", str, "probability", None, None,
            "quantity that weighs the masks: the class's probability, or its score as it is",
            ("probability", "score"),
        ),
    ),
    cost=Cost(1, "masks"),
    anytime=True,
    claim="How probable the class is, on average, where a place of the input is seen.",
    limits=(
        "An average over random masks: see its standard error. Hidden places are 0 in the prepared "
        "input, which a model may take for something; no finer than a cell; only the ranking of "
        "places means something, for what lies elsewhere raises all of them."
    ),
)  # fmt: skip
def rise(
    x: Array, scores: Ask, probabilities: Ask, rng: np.random.Generator,
    *, masks: int, cells: int, keep: float, score: str,
) -> Estimate:  # fmt: skip
    """M = sum_i y(x m_i) m_i / (keep masks), m_i random grids, enlarged and shifted.

    A grid of `cells` an axis, each 1 with probability `keep`, is interpolated linearly (borders
    repeated) to one cell more than the input, and cut at a random place. y is the probability of
    the class, as in the paper.
    """
    ask = probabilities if score == "probability" else scores
    return under_masks(x, ask, rng, masks, cells, keep)


def under_masks(
    x: Array, ask: Ask, rng: np.random.Generator, masks: int, cells: int, keep: float
) -> Estimate:
    """Return the masks weighted by the answers to the input behind them, [K, *space].

    Args:
        x: The input, [C, *space].
        ask: What is asked of the model: its answers [K] to each input.
        rng: What the masks are drawn by.
        masks: How many.
        cells: Cells of a mask along each axis.
        keep: Probability that a cell is 1.
    """
    drawn: list[Array] = []

    def hidden() -> Iterator[Array]:
        for _ in range(masks):
            drawn.append(random_mask(rng, x.shape[1:], cells, keep))
            yield x * drawn[-1]

    found = Moments()
    for answer in ask(hidden()):
        mask = drawn.pop(0)
        found.add(answer.reshape(-1, *[1] * mask.ndim) / keep * mask)
    return Estimate(found.mean, found.error)


def random_mask(rng: np.random.Generator, space: tuple[int, ...], cells: int, keep: float) -> Array:
    """Return one mask.

    Args:
        rng: First the cells are drawn (``random``), then the shift along each axis (``integers``).
        space: Extents of the input's space.
        cells: Cells along each axis.
        keep: Probability that a cell is 1.

    Returns:
        float32 [*space], 0 to 1.
    """
    mask: Array = (rng.random((cells,) * len(space)) < keep).astype(np.float32)
    for axis, extent in enumerate(space):
        cell = -(-extent // cells)
        first = int(rng.integers(cell))
        part = slice(first, first + extent)
        mask = interpolated(mask, axis, (cells + 1) * cell, part=part)
    return mask
