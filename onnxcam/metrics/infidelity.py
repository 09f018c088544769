"""Infidelity: whether the map says how far the score falls when some places are taken away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.metrics.curves import nothing, scores_of
from onnxcam.metrics.registry import Array, Predict, metric
from onnxcam.metrics.sample import Explained, along, laid


@metric(
    "infidelity", kind="faithfulness", better="lower",
    cite="Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019, eq. 1",
)  # fmt: skip
def infidelity(
    explanation: Explained,
    predict: Predict,
    *,
    samples: int = 50,
    share: float = 0.2,
    baseline: float = 0.0,
    scale: bool = True,
    seed: int = 0,
    batch_size: int = 1,
) -> float:
    """E[(b sum_{i in S} M_i - (y(x) - y(x without S)))^2], S random boxes.

    The paper's square removal: what is taken away is x itself, so that a map of shares (input times
    gradient, integrated gradients, Shapley values) predicts the fall of the score by its sum. The
    factor b is the best one (Captum's ``normalize=True``), for maps of any unit; divided by
    E[(y(x) - y(x without S))^2], so that 1 is a map that predicts nothing.

    Args:
        explanation: Of one input, with its map at the input's size.
        predict: Inputs [N, ...] of the explanation's tensor, in its dtype -> scores [N, C].
        samples: How many boxes.
        share: The longest that a box is along each axis, as a part of it.
        baseline: What stands in a box.
        scale: Whether to scale, as above; else b is 1, and nothing is divided.
        seed: Of the boxes.
        batch_size: Inputs for one call of ``predict``.

    Raises:
        InputError: The map or a score is not finite.
        UsageError: The map is not at the input's size, or there are too few boxes.
    """
    if samples < 1:
        raise UsageError(f"{samples} boxes measure nothing", "give 1 or more as `samples`")
    map, empty = laid(explanation), nothing(explanation, baseline)
    boxes = list(random_boxes(map.shape, samples, share, np.random.default_rng(seed)))

    def inputs() -> Iterator[Array]:
        yield explanation.tensor
        for box in boxes:
            yield np.where(along(explanation, box), empty, explanation.tensor)

    scores = scores_of(inputs(), predict, explanation.target, batch_size)
    falls = scores[0] - scores[1:]
    said = np.array([map[box].sum() for box in boxes])
    if not scale:
        return float(((said - falls) ** 2).mean())
    size = (said**2).mean()
    factor = (said * falls).mean() / size if size > 0 else 0.0
    whole = (falls**2).mean()
    return float(((factor * said - falls) ** 2).mean() / whole) if whole > 0 else float("nan")


def random_boxes(
    space: tuple[int, ...], count: int, share: float, rng: np.random.Generator
) -> Iterator[Array]:
    """Yield bool [*space] that are True in a random box."""
    for _ in range(count):
        box = np.zeros(space, bool)
        sizes = [int(rng.integers(1, max(1, round(share * n)) + 1)) for n in space]
        first = [int(rng.integers(n - size + 1)) for n, size in zip(space, sizes, strict=True)]
        box[tuple(slice(a, a + size) for a, size in zip(first, sizes, strict=True))] = True
        yield box
