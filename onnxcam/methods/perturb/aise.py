"""AISE."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, OwnScore, Probability, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import chosen, score
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_WIDTHS = (0.1, 0.175, 0.25)


@sampled_method(
    "aise",
    kind="sampling",
    needs=(Input, OwnScore, Score, Probability),
    cite="Negvet, AISE of OpenVINO-XAI 1.1, 2024 (no paper), balance preset",
    parameters=(
        Parameter("evaluations", int, 50, 2, 1_000_000, "number of bells of each of three widths"),
        score("probability"),
    ),
    cost=Cost(6, "evaluations"),
    signed=True,
    anytime=True,
    claim="Where a bell of the input is enough for the class, and its absence costs the class.",
    limits=(
        "A search for the best place: others are looked at less often, and one object may hide "
        "another. The bells are round, whatever the object is."
    ),
)
def aise(
    x: Array, own: Array, scores: Ask, probabilities: Ask, *, evaluations: int, score: str
) -> Estimate:
    """M = sum over widths of K / max K, K = sum_i (y(x g_i) - y(x (1 - g_i)) + y(x) - y(0)) g_i.

    g_i are Gaussian bells, of 1 at their middle and a width of 0.1, 0.175 or 0.25 of each extent;
    DIRECT (Jones et al. 1993) chooses their places, so as to find the largest difference. What the
    whole input is worth, y(x) - y(0), is not in OpenVINO's formula and changes no choice: without
    it a bell that costs the class less than it keeps of it weighs less than a place that was never
    looked at, and where no bell alone keeps the class, the best places are the lowest ones.
    """
    ask = chosen(score, scores, probabilities)
    total = 2 + 2 * len(_WIDTHS) * evaluations * len(own)
    ends = list(ask([x, np.zeros_like(x)], total))
    if len(ends) < 2:  # stopped
        return Estimate(np.zeros((len(ends[0]), *x.shape[1:])))
    maps = [_one(x, lambda inputs: ask(inputs, total), evaluations, k, float(worth))
            for k, worth in enumerate(ends[0] - ends[1])]  # fmt: skip
    return Estimate(np.stack(maps))


def _one(
    x: Array, ask: Callable[[list[Array]], Iterator[Array]], evaluations: int, k: int, worth: float
) -> Array:
    from scipy.optimize import direct

    space = x.shape[1:]
    axes = np.meshgrid(*(np.linspace(0, 1, n) for n in space), indexing="ij")
    whole = np.zeros(space)
    for width in _WIDTHS:
        density, left = np.zeros(space), [evaluations]

        def loss(at: Array, width: float = width, density: Array = density,
                 left: list[int] = left) -> float:  # fmt: skip
            far = sum((axis - place) ** 2 for axis, place in zip(axes, at, strict=True))
            bell = np.exp(-np.asarray(far) / (2 * width**2))
            if not left[0]:
                return 0.0
            left[0] -= 1
            share = bell.astype(x.dtype)
            answers = list(ask([x * share, x * (1 - share)]))
            if len(answers) < 2:  # stopped
                left[0] = 0
                return 0.0
            gain = float(answers[0][k] - answers[1][k])
            density += (gain + worth) * bell
            return -gain

        direct(loss, [(0, 1)] * len(space), eps=0.1, maxfun=evaluations, locally_biased=False)
        whole += density / density.max() if density.max() > 0 else density
    return whole
