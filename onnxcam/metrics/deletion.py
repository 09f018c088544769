"""Deletion: how fast the score falls when the map's highest places are taken away."""

from __future__ import annotations

from typing import Literal

from onnxcam.metrics.curves import area, curve
from onnxcam.metrics.registry import Array, Predict, metric
from onnxcam.metrics.sample import Explained


@metric("deletion", kind="faithfulness", better="lower", cite="Petsiuk et al., BMVC 2018")
def deletion(
    explanation: Explained,
    predict: Predict,
    *,
    steps: int = 50,
    baseline: float | Array | Literal["blur"] = 0.0,
    batch_size: int = 1,
) -> float:
    """AUC = integral over f in [0, 1] of p(x without the fraction f of its places), highest first.

    Petsiuk et al. take away a row's worth of pixels at a time, down to 0 of the normalised input,
    and look at the probability; ``steps`` equal parts are the same where they divide the places.
    Places of one value go in their order in memory.

    Args:
        explanation: Of one input, with its map at the input's size.
        predict: Inputs [N, ...] of the explanation's tensor, in its dtype -> scores [N, C].
        steps: In how many parts the places are taken away.
        baseline: What is put there: a number, values that broadcast to the tensor, or "blur".
        batch_size: Inputs for one call of ``predict``.

    Returns:
        The area, in the unit of the scores: 0 to 1 for probabilities, lower is better.

    Raises:
        InputError: The map or a score is not finite.
        UsageError: The map is not at the input's size, or there are no steps.
    """
    found = curve(explanation, predict, steps=steps, baseline=baseline, batch_size=batch_size)
    return area(*found)
