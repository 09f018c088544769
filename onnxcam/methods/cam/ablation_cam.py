"""Ablation-CAM."""

from __future__ import annotations

import numpy as np

from onnxcam.methods.needs import Activation, Array, Ask, ChannelScore
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "ablation-cam",
    kind="head",
    needs=(Activation, ChannelScore),
    cite="Desai and Ramaswamy, Ablation-CAM, WACV 2020, equations 4 and 5",
    cost=Cost(1, "channels"),
    rectify=True,
    anytime=True,
    claim="Where channels are active without which the score falls.",
    limits=(
        "As coarse as the layer. A channel is left out alone: of two that say the same neither is "
        "missed. 0 is no absence for features that are 0 nowhere."
    ),
)
def ablation_cam(a: Array, scores: Ask) -> Estimate:
    """L = relu(sum_k w_k A_k), w_k = (y - y_k) / |y|, y_k the score when channel k is 0.

    The paper divides by y, which it takes to be positive; with a negative y that would turn every
    weight round. pytorch-grad-cam sets a channel far below the layer's minimum where that is not
    0; here, as in the paper, it is 0.
    """
    asked = [None, *range(len(a))]
    found = np.stack(list(scores(asked))).astype(np.float64)
    whole, without = found[0], found[1:]
    size = np.where(whole == 0, 1, np.abs(whole))  # of a score of 0 the drop itself
    weights = (whole - without) / size  # [channels, K]
    return Estimate(np.tensordot(weights.T, a[: len(without)], 1))
