"""Score-CAM."""

from __future__ import annotations

import numpy as np

from onnxcam.methods.needs import Activation, Array, Ask, Input, Score
from onnxcam.methods.perturb.masks import channel_mask
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "score-cam",
    kind="sampling",
    needs=(Input, Activation, Score),
    cite="Wang et al., Score-CAM, CVPR workshop 2020, equations 7 to 9",
    cost=Cost(1, "channels"),
    rectify=True,
    anytime=True,
    claim="Where channels are active whose active places alone give a high score.",
    limits=(
        "As coarse as the layer. The softmax over the channels' scores often lets a few channels "
        "make the whole map, or all of them alike, by the scale of the logits."
    ),
)
def score_cam(x: Array, a: Array, scores: Ask) -> Estimate:
    """L = relu(sum_k w_k A_k), w = softmax over k of y(x H_k), H_k = A_k enlarged, from 0 to 1.

    Channels are enlarged linearly, corners laid on corners, as pytorch-grad-cam does; the paper
    leaves it open. Its baseline score is the same for all channels, so the softmax loses it. The
    masks hide parts of the input, so the whole model runs for each.
    """
    answers = np.stack(list(scores(x * channel_mask(channel, x.shape[1:]) for channel in a)))
    powers = np.exp((answers - answers.max(0)).astype(np.float64))  # [channels, K]
    weights = powers / powers.sum(0)
    return Estimate(np.tensordot(weights.T, a[: len(answers)], 1))
