"""Sobol indices."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, Probability, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import BASELINE, chosen, fill, nothing, score
from onnxcam.methods.perturb.masks import nearest
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "sobol",
    kind="sampling",
    needs=(Input, Score, Probability, Random),
    cite="Fel et al., Look at the Variance!, NeurIPS 2021, equations 5 and 6",
    parameters=(
        Parameter("designs", int, 32, 2, 1_000_000, "number of random masks that each cell is "
                  "varied in; a power of 2 is best"),
        Parameter("cells", int, 8, 1, 1000, "number of cells of a mask along each axis of space"),
        BASELINE, fill("value"), score("probability"),
    ),
    cost=Cost(1, "designs x (cells + 1)"),
    anytime=True,
    claim="The part of the score's variance that a cell has a share in, alone or with others.",
    limits=(
        "Without a sign: a cell that speaks against the class counts like one for it. No finer "
        "than a cell; an estimate, see its standard error."
    ),
)  # fmt: skip
def sobol(
    x: Array, scores: Ask, probabilities: Ask, rng: np.random.Generator, *, designs: int,
    cells: int, baseline: float, fill: str, score: str,
) -> Estimate:  # fmt: skip
    """S_i = sum_n (y(A_n) - y(C_in))^2 / (2 N Var y(A)), C_i is A with cell i from B (Jansen 1999).

    A and B are masks from 0 to 1 of a Sobol sequence (scrambled by the seed; xplique takes it as it
    is); x m + b (1 - m) is asked, m enlarged by repetition. B alone need not be asked. The map has
    a value a cell, which is then enlarged.
    """
    grid = (cells,) * (x.ndim - 1)
    count, empty = prod(grid), nothing(x, fill, baseline)
    masks = _designs(count, designs, rng)

    def hidden() -> Iterator[Array]:
        for a, b in masks:
            for cell in range(-1, count):
                mask = np.where(np.arange(count) == cell, b, a).reshape(grid)
                share = nearest(mask, x.shape[1:]).astype(x.dtype)
                yield x * share + empty * (1 - share)

    ask = chosen(score, scores, probabilities)
    y = np.stack(list(ask(hidden(), designs * (count + 1)))).astype(np.float64)
    whole = len(y) // (count + 1)
    if whole < 2:
        nothing_yet = np.zeros((y.shape[1], *grid))
        return Estimate(nothing_yet, np.full_like(nothing_yet, np.inf))
    y = y[: whole * (count + 1)].reshape(whole, count + 1, -1)  # [N, 1 + cells, K]
    gone = (y[:, :1] - y[:, 1:]) ** 2
    spread = y[:, 0].var(0, ddof=1)
    spread = np.where(spread > 0, spread, np.inf)
    indices, error = (
        gone.mean(0) / (2 * spread),
        gone.std(0, ddof=1) / np.sqrt(whole) / (2 * spread),
    )
    return Estimate(indices.T.reshape(-1, *grid), error.T.reshape(-1, *grid))


def _designs(count: int, designs: int, rng: np.random.Generator) -> list[tuple[Array, Array]]:
    import warnings

    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of numbers that are no powers of 2
        both = qmc.Sobol(2 * count, scramble=True, rng=rng).random(designs)
    return [(row[:count], row[count:]) for row in both]
