"""Occlusion."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, Probability, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import BASELINE, chosen, fill, nothing, score
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "occlusion",
    kind="sampling",
    needs=(Input, Score, Probability),
    cite="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014",
    parameters=(
        Parameter("window", float, 0.2, 1e-6, 1_000_000, "size of the window along each axis: a "
                  "part of the extent below 1, samples from 1 on"),
        Parameter("stride", float, 0.1, 1e-6, 1_000_000, "how far the window moves at once, in "
                  "the unit of the window"),
        Parameter("edges", str, "cut", None, None, "what is done at the borders: windows are cut "
                  "off there (as Captum), have their centres inside (MATLAB's clipping), or lie "
                  "inside (MATLAB without)", ("cut", "centred", "inside")),
        BASELINE, fill("value"), score("score"),
    ),
    cost=Cost(1, "windows"),
    signed=True,
    anytime=True,
    claim="How far the score falls when a window of the input is hidden.",
    limits=(
        "Of two windows that say the same neither is missed; what is larger than the window is "
        "only seen in part. What hides may itself mean something to the model."
    ),
)  # fmt: skip
def occlusion(
    x: Array, scores: Ask, probabilities: Ask, *, window: float, stride: float, edges: str,
    baseline: float, fill: str, score: str,
) -> Estimate:  # fmt: skip
    """M_i = mean over windows w that hide i of y(x) - y(x without w).

    With ``edges`` as MATLAB's occlusionSensitivity the map has one value a window, which is then
    enlarged. Windows come in a fixed scattered order, so that a map that ends early is of all
    parts; what no window hid yet is 0 there.
    """
    space, empty = x.shape[1:], nothing(x, fill, baseline)
    starts = [_starts(n, *_samples(n, window, stride), edges) for n in space]
    boxes = list(product(*starts))
    order = np.random.default_rng(0).permutation(len(boxes))

    def hidden() -> Iterator[Array]:
        yield x
        for at in order:
            covered = x.copy()
            box = (slice(None), *(slice(a, b) for a, b in boxes[at]))
            covered[box] = empty[box]
            yield covered

    answers = chosen(score, scores, probabilities)(hidden(), len(boxes) + 1)
    whole = next(answers).astype(np.float64)
    falls = np.zeros((len(boxes), len(whole)))
    seen = np.zeros(len(boxes))
    for k, answer in enumerate(answers):
        falls[order[k]], seen[order[k]] = whole - answer, 1
    if edges != "cut":
        return Estimate(falls.T.reshape(-1, *map(len, starts)))
    total, often = np.zeros((len(whole), *space)), np.zeros(space)
    for box, fall, there in zip(boxes, falls, seen, strict=True):
        part = tuple(slice(a, b) for a, b in box)
        total[(slice(None), *part)] += fall.reshape(-1, *[1] * len(space))
        often[part] += there
    return Estimate(total / np.maximum(often, 1))


def _samples(extent: int, window: float, stride: float) -> tuple[int, int]:
    """Return a window's size and stride in samples."""
    sizes = (round(v * extent) if v < 1 else int(v) for v in (window, stride))
    size, step = (max(1, min(n, extent)) for n in sizes)
    return size, step


def _starts(extent: int, size: int, step: int, edges: str) -> list[tuple[int, int]]:
    """Return where the windows begin and end along an axis."""
    if edges == "centred":
        half = size // 2
        return [(max(0, c - half), min(extent, c - half + size)) for c in range(0, extent, step)]
    if edges == "inside":
        return [(a, a + size) for a in range(0, extent - size + 1, step)]
    count = 1 + -(-(extent - size) // step)
    return [(i * step, min(extent, i * step + size)) for i in range(count)]
