"""Sobol indices."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, Probability, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb import variance
from onnxcam.methods.perturb.hiding import BASELINE, cells, chosen, fill, nothing, score
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
        cells(8),
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

    def hidden() -> Iterator[Array]:
        for mask in variance.designs(count, designs, rng):
            share = nearest(mask.reshape(grid), x.shape[1:]).astype(x.dtype)
            yield x * share + empty * (1 - share)

    ask = chosen(score, scores, probabilities)
    y = np.stack(list(ask(hidden(), designs * (count + 1))))
    indices, error = variance.total_indices(y, count)
    return Estimate(indices.reshape(-1, *grid), error.reshape(-1, *grid))
