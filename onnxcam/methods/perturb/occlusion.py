"""Occlusion."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.methods.needs import Array, Ask, Input, Probability, Score
from onnxcam.methods.parameters import Parameter, Setting, sizes
from onnxcam.methods.perturb.hiding import BASELINE, chosen, fill, nothing, score
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "occlusion",
    kind="sampling",
    needs=(Input, Score, Probability),
    cite="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014",
    parameters=(
        Parameter("window", float, 0.2, 1e-6, 1_000_000, "size of the window along each axis: a "
                  "part of the extent below 1, samples from 1 on; with one number more than axes "
                  "of space the first is for channels, which are else hidden together", each=True),
        Parameter("stride", float, 0.1, 1e-6, 1_000_000, "way that the window moves at once, in "
                  "the unit of the window", each=True),
        Parameter("edges", str, "cut", None, None, "place of the windows at the borders: cut "
                  "off there (as Captum), with their centres inside (MATLAB's clipping), or "
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
    x: Array, scores: Ask, probabilities: Ask, *, window: Setting, stride: Setting, edges: str,
    baseline: float, fill: str, score: str,
) -> Estimate:  # fmt: skip
    """M_i = mean over windows w that hide i of y(x) - y(x without w).

    With ``edges`` as MATLAB's occlusionSensitivity the map has one value a window, which is then
    enlarged. Windows come in a fixed scattered order, so that a map that ends early is of all
    parts; what no window hid yet is 0 there. With windows over channels, as Captum's have, each
    channel has a map like that, and M is their mean.
    """
    empty = nothing(x, fill, baseline)
    starts = [
        _starts(n, size, step, edges if axis else "cut")
        for axis, (n, size, step) in enumerate(
            zip(x.shape, *_samples(x.shape, window, stride), strict=True)
        )
    ]
    boxes = list(product(*starts))
    order = np.random.default_rng(0).permutation(len(boxes))

    def hidden() -> Iterator[Array]:
        yield x
        for at in order:
            covered = x.copy()
            box = tuple(slice(a, b) for a, b in boxes[at])
            covered[box] = empty[box]
            yield covered

    answers = chosen(score, scores, probabilities)(hidden(), len(boxes) + 1)
    whole = next(answers).astype(np.float64)
    falls = np.zeros((len(boxes), len(whole)))
    seen = np.zeros(len(boxes))
    for k, answer in enumerate(answers):
        falls[order[k]], seen[order[k]] = whole - answer, 1
    if edges != "cut":
        return Estimate(falls.T.reshape(-1, *map(len, starts)).mean(1))
    shape = (len(x) if len(starts[0]) > 1 else 1, *x.shape[1:])
    total, often = np.zeros((len(whole), *shape)), np.zeros(shape)
    for box, fall, there in zip(boxes, falls, seen, strict=True):
        part = tuple(slice(a, b) for a, b in box)
        total[(slice(None), *part)] += fall.reshape(-1, *[1] * x.ndim)
        often[part] += there
    each = total / np.maximum(often, 1)
    return Estimate(each.mean(1), relief=each if len(starts[0]) > 1 else None)


def _samples(
    shape: tuple[int, ...], window: Setting, stride: Setting
) -> tuple[list[int], list[int]]:
    """Return the windows' sizes and strides in samples, of channels and each axis of space.

    Raises:
        UsageError: There are numbers for other axes than the input has.
    """
    space, found = len(shape) - 1, []
    for name, setting in (("window", window), ("stride", stride)):
        each = sizes(setting)
        each = each * space if len(each) == 1 else each
        if len(each) not in (space, space + 1):
            raise UsageError(
                f"the {name} {setting} has {len(each)} numbers, and the input has {space} axes of "
                "space",
                f"give one number for all, {space} for each, or {space + 1} with channels first",
            )
        found.append(each)
    over, moves = (each[0] if len(each) > space else None for each in found)
    own = _inside(shape[0], shape[0] if over is None else over)
    step = own if moves is None else _inside(shape[0], moves)
    last = [
        [_inside(n, v) for n, v in zip(shape[1:], each[-space:] if space else [], strict=True)]
        for each in found
    ]
    return [own, *last[0]], [step, *last[1]]


def _inside(extent: int, value: float) -> int:
    """Return a size in samples: a part of the extent below 1, samples from 1 on."""
    size = round(value * extent) if value < 1 else int(value)
    return max(1, min(size, extent))


def _starts(extent: int, size: int, step: int, edges: str) -> list[tuple[int, int]]:
    """Return where the windows begin and end along an axis."""
    if edges == "centred":
        half = size // 2
        return [(max(0, c - half), min(extent, c - half + size)) for c in range(0, extent, step)]
    if edges == "inside":
        return [(a, a + size) for a in range(0, extent - size + 1, step)]
    count = 1 + -(-(extent - size) // step)
    return [(i * step, min(extent, i * step + size)) for i in range(count)]
