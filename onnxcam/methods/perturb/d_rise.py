"""D-RISE."""

from __future__ import annotations

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, Random, Similarity
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import cells
from onnxcam.methods.perturb.rise import under_masks
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "d-rise",
    kind="sampling",
    needs=(Input, Similarity, Random),
    cite="Petsiuk et al., Black-box Explanation of Object Detectors via Saliency Maps, CVPR 2021, "
    "equations 2 to 5",
    parameters=(
        Parameter("masks", int, 5000, 2, 10_000_000, "number of masks"),
        cells(16),
        Parameter("keep", float, 0.5, 0.001, 0.999, "probability that a cell is kept"),
    ),
    cost=Cost(1, "masks"),
    anytime=True,
    claim=(
        "How well a box of a detector, its place and its class, is found again where a place of "
        "the input is seen. Needs no gradient, and serves models that suppress boxes themselves."
    ),
    limits=(
        "An average over random masks: see its standard error. Hidden places are 0 in the prepared "
        "input, which a model may take for something; no finer than a cell; only the ranking of "
        "places means something. Only for detectors."
    ),
)
def d_rise(
    x: Array, alike: Ask, rng: np.random.Generator, *, masks: int, cells: int, keep: float
) -> Estimate:
    """M = sum_i s_i m_i / (keep masks), s_i = max over boxes j of x m_i of s(t, j).

    s(t, j) = IoU(t, j) cos(p_t, p_j) o_j is the similarity of the box t that is explained and a
    box j that the model says of the masked input: of their places, of the probabilities of their
    classes, and how sure the model is of j. The masks are RISE's; the paper divides by nothing.
    See :mod:`onnxcam.run.alike` for o_j.
    """
    return under_masks(x, alike, rng, masks, cells, keep)
