"""What stands where a part of the input is hidden, and the parameters that say so."""

from __future__ import annotations

import numpy as np

from onnxcam.methods.needs import Array, Ask
from onnxcam.methods.parameters import Parameter

BASELINE = Parameter(
    "baseline", float, 0.0, -1_000_000, 1_000_000,
    "value of every number of the prepared input that stands for nothing",
)  # fmt: skip


def fill(default: str) -> Parameter:
    """Return the parameter that says what hides, with a default of the method's own."""
    return Parameter(
        "fill", str, default, None, None,
        "what stands where the input is hidden: the baseline's value, each channel's mean, or the "
        "input blurred", ("value", "mean", "blur"),
    )  # fmt: skip


def cells(default: int) -> Parameter:
    """Return the parameter that says how fine masks are, with a default of the method's own."""
    said = "number of cells of a mask along each axis of space"
    return Parameter("cells", int, default, 1, 1000, said)


def score(default: str) -> Parameter:
    """Return the parameter that says what is asked of the model."""
    return Parameter(
        "score", str, default, None, None,
        "quantity that is asked for: the class's probability, or its score as it is",
        ("probability", "score"),
    )  # fmt: skip


def chosen(name: str, scores: Ask, probabilities: Ask) -> Ask:
    """Return what the parameter :func:`score` stands for."""
    return probabilities if name == "probability" else scores


def nothing(x: Array, fill: str, baseline: float) -> Array:
    """Return what stands where an input [C, *space] is hidden, in its shape.

    The blur is a Gaussian of a tenth of each extent.
    """
    if fill == "value":
        return np.full_like(x, baseline)
    if fill == "mean":
        return np.broadcast_to(x.mean(tuple(range(1, x.ndim)), keepdims=True), x.shape)
    from scipy import ndimage

    widths = [0, *(n / 10 for n in x.shape[1:])]
    return np.asarray(ndimage.gaussian_filter(x, widths, mode="nearest"))
