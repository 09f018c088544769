"""SS-CAM and IS-CAM: Score-CAM over several masks a channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.methods.needs import Activation, Array, Ask, Input, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.masks import channel_mask
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_LIMITS = (
    "As coarse as the layer. The softmax over the channels' scores often lets a few channels make "
    "the whole map, or all of them alike, by the scale of the logits."
)


@sampled_method(
    "ss-cam",
    kind="sampling",
    needs=(Input, Activation, Score, Random),
    cite="Wang et al., SS-CAM: Smoothed Score-CAM, 2020, arXiv:2006.14255, equations 5 to 7",
    parameters=(
        Parameter("samples", int, 35, 1, 1_000_000, "number of noisy masks of each channel"),
        Parameter("noise", float, 0.15, 0, 10, "standard deviation of the noise, as a part of the "
                  "channel's range (max - min)"),
    ),
    cost=Cost(1, "channels x samples"),
    rectify=True,
    anytime=True,
    claim="As Score-CAM, of masks that noise was added to: less depends on one sharp mask.",
    limits=_LIMITS,
)  # fmt: skip
def ss_cam(
    x: Array, a: Array, scores: Ask, rng: np.random.Generator, *, samples: int, noise: float
) -> Estimate:
    """L = relu(sum_k w_k A_k), w = softmax over k of mean_i y(x H_ki), H_ki of A_k + noise.

    The noise is normal, on the features (the paper's first variant), with a deviation of a part of
    each channel's range; the paper says 2, in the features' own unit. H is as in Score-CAM.
    The standard error is of first order in the channels' mean scores.
    """

    def hidden() -> Iterator[Array]:
        for channel in a:
            spread = noise * float(channel.max() - channel.min())
            for _ in range(samples):
                noisy = channel + spread * rng.standard_normal(channel.shape)
                yield x * channel_mask(noisy, x.shape[1:])

    return _weighted(a, scores(hidden(), len(a) * samples), samples, random=True)


@sampled_method(
    "is-cam",
    kind="sampling",
    needs=(Input, Activation, Score),
    cite="Naidu et al., IS-CAM: Integrated Score-CAM, 2020, arXiv:2010.03023, equations 4 to 6",
    parameters=(
        Parameter("steps", int, 10, 1, 10_000, "number of strengths of each channel's mask"),
    ),
    cost=Cost(1, "channels x steps"),
    rectify=True,
    anytime=True,
    claim="As Score-CAM, averaged over masks from faint to full.",
    limits=_LIMITS,
)  # fmt: skip
def is_cam(x: Array, a: Array, scores: Ask, *, steps: int) -> Estimate:
    """L = relu(sum_k w_k A_k), w = softmax over k of mean_i y(x H_k i / N), i from 1 to N.

    H is as in Score-CAM.
    """

    def hidden() -> Iterator[Array]:
        for channel in a:
            mask = x * channel_mask(channel, x.shape[1:])
            for i in range(1, steps + 1):
                yield mask * np.float32(i / steps)

    return _weighted(a, scores(hidden(), len(a) * steps), steps)


def _weighted(a: Array, answers: Iterator[Array], each: int, *, random: bool = False) -> Estimate:
    """Return the map of channels weighted by the softmax of their mean scores.

    Where the scores are random its error is of first order: dL / d(mean of k) = w_k (A_k - L).
    """
    y = np.stack(list(answers)).astype(np.float64)
    whole = max(len(y) // each, 1)
    means = np.stack([y[k * each : (k + 1) * each].mean(0) for k in range(whole)])
    powers = np.exp(means - means.max(0))  # [channels, K]
    weights = (powers / powers.sum(0)).T  # [K, channels]
    signed = np.tensordot(weights, a[:whole], 1)
    if not random:
        return Estimate(signed)
    if each < 2:
        return Estimate(signed, np.full_like(signed, np.inf))
    rows = [y[k * each : (k + 1) * each] for k in range(whole)]
    doubt = np.stack([row.var(0, ddof=1) / len(row) for row in rows if len(row) > 1] or [y[0] * 0])
    away = np.square(a[None, : len(doubt)] - signed[:, None])  # [K, channels, *space]
    shares = np.square(weights[:, : len(doubt)]) * doubt.T
    error = np.sqrt(np.einsum("kc,kc...->k...", shares, away))
    return Estimate(signed, error)
