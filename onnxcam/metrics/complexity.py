"""Whether a map is about few places."""

from __future__ import annotations

import numpy as np

from onnxcam.metrics.registry import Array, metric
from onnxcam.metrics.sample import Explained, finite


@metric(
    "entropy", kind="complexity", better="lower",
    cite="Bhatt, Weller and Moura, Evaluating and Aggregating Explanations, IJCAI 2020, equation 5",
)  # fmt: skip
def entropy(explanation: Explained) -> float:
    """-sum p log p / log n, p = |M| / sum |M| over n places: 0 one place, 1 all alike.

    The paper does not divide by log n, so that its numbers depend on the map's size. nan for a map
    of zeros.
    """
    size = _sizes(explanation)
    share = size[size > 0] / size.sum() if size.any() else size
    if not share.any() or size.size < 2:
        return float("nan") if not size.any() else 0.0
    return float(max(0.0, -(share * np.log(share)).sum() / np.log(size.size)))


@metric(
    "sparseness", kind="complexity", better="higher",
    cite="Chalasani et al., Concise Explanations of Neural Networks, ICML 2020 (Gini index)",
)  # fmt: skip
def sparseness(explanation: Explained) -> float:
    """Gini index of |M|: 0 all places alike, near 1 one place; nan for a map of zeros."""
    size = np.sort(_sizes(explanation))
    count, total = size.size, size.sum()
    if total == 0:
        return float("nan")
    return float(((2 * np.arange(1, count + 1) - count - 1) * size).sum() / (count * total))


def _sizes(explanation: Explained) -> Array:
    return np.abs(finite(explanation)).ravel()
