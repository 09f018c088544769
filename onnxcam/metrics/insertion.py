"""Insertion: how fast the score rises when the map's highest places are put back."""

from __future__ import annotations

from typing import Literal

from onnxcam.metrics.curves import area, curve
from onnxcam.metrics.registry import Array, Predict, metric
from onnxcam.metrics.sample import Explained


@metric("insertion", kind="faithfulness", better="higher", cite="Petsiuk et al., BMVC 2018")
def insertion(
    explanation: Explained,
    predict: Predict,
    *,
    steps: int = 50,
    baseline: float | Array | Literal["blur"] = "blur",
    batch_size: int = 1,
) -> float:
    """AUC = integral over f in [0, 1] of p(baseline with the fraction f of x), highest first.

    Petsiuk et al. put places back into the input blurred by a Gaussian of 5 pixels, cut off at 5;
    here it is one of a twentieth of each extent, 11 pixels of 224.

    Args:
        explanation: Of one input, with its map at the input's size.
        predict: Inputs [N, ...] of the explanation's tensor, in its dtype -> scores [N, C].
        steps: In how many parts the places are put back.
        baseline: What they are put into: a number, values that broadcast to the tensor, or "blur".
        batch_size: Inputs for one call of ``predict``.

    Returns:
        The area, in the unit of the scores: 0 to 1 for probabilities, higher is better.

    Raises:
        InputError: The map or a score is not finite.
        UsageError: The map is not at the input's size, or there are no steps.
    """
    found = curve(
        explanation, predict, steps=steps, baseline=baseline, batch_size=batch_size, insert=True
    )
    return area(*found)
