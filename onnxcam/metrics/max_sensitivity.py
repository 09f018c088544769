"""Max-sensitivity: how far the map changes when the input hardly does."""

from __future__ import annotations

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.metrics.registry import Explain, metric
from onnxcam.metrics.sample import Explained, finite


@metric(
    "max-sensitivity", kind="robustness", better="lower",
    cite="Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019, eq. 3",
)  # fmt: skip
def max_sensitivity(
    explanation: Explained,
    explain: Explain,
    *,
    samples: int = 10,
    radius: float = 0.02,
    seed: int = 0,
) -> float:
    """Max over |e| <= r of ||M(x + e) - M(x)|| / ||M(x)||, e uniform in each number.

    As Captum has it; the maximum of a sample is a lower bound of the true one.

    Args:
        explanation: Of one input.
        explain: One input -> the map of the same method and class, of the same shape.
        samples: How many changed inputs are looked at.
        radius: The largest change of a number, in the unit of the (prepared) input.
        seed: Of the changes.

    Returns:
        0 for a map that stays; nan where the map is 0.

    Raises:
        InputError: A map is not finite.
        UsageError: There are no samples.
    """
    if samples < 1:
        raise UsageError(f"{samples} samples measure nothing", "give 1 or more as `samples`")
    rng, map, x = np.random.default_rng(seed), finite(explanation), explanation.tensor
    size = float(np.linalg.norm(map))
    if size == 0:
        return float("nan")
    worst = 0.0
    for _ in range(samples):
        other = np.asarray(explain((x + rng.uniform(-radius, radius, x.shape)).astype(x.dtype)))
        worst = max(worst, float(np.linalg.norm(other - map)) / size)
    return worst
