"""CRAFT: concepts of a layer, and the part of the score's variance that each has a share in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.errors import InputError, UsageError
from onnxcam.inputs.arrays import load_said
from onnxcam.methods.cam.factors import amounts, factors
from onnxcam.methods.needs import Activation, Array, Ask, HeadScore, Layer, Random
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb import variance
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_LEFT = 0.5  # of the features, what concepts may leave before the map says so


@sampled_method(
    "craft",
    kind="head",
    needs=(Layer, Activation, HeadScore, Random),
    cite="Fel et al., CRAFT: Concept Recursive Activation FacTorization for Explainability, "
    "CVPR 2023, equations 1 and 4",
    parameters=(
        Parameter("concepts", int, 10, 1, 1000, "number of concepts, where no bank is given"),
        Parameter("bank", str, "", None, None, "file of concepts as the features of each, .npy "
                  "[concepts, channels], such as `onnxcam craft` writes of many pictures; without "
                  "it, those of this input"),
        Parameter("concept", int, -1, -1, 999, "concept that is shown, from 0; -1 for the one "
                  "with the largest index"),
        Parameter("designs", int, 32, 2, 1_000_000, "number of random masks of the concepts that "
                  "each concept is varied in; a power of 2 is best"),
    ),
    cost=Cost(1, "designs x (concepts + 1)"),
    anytime=True,
    claim=(
        "Where a concept lies, times the part of the score's variance that it has a share in when "
        "the input's concepts are there more or less."
    ),
    limits=(
        "Without a sign: a concept that speaks against the class counts like one for it. What is "
        "asked about are sums of the concepts; what these leave of the layer is gone, and negative "
        "features count as 0. What a concept stands for its pictures must tell. As coarse as the "
        "layer."
    ),
)  # fmt: skip
def craft(
    layer: Array, a: Array, scores: Ask, rng: np.random.Generator, *, concepts: int, bank: str,
    concept: int, designs: int,
) -> Estimate:  # fmt: skip
    """M = S_j U_j, relu(A) = W U in least squares, none negative, S_j the total Sobol index of j.

    A is the layer, W holds the features of each concept and U how much of each is at a position.
    S_j is that of the score of the layer W (m U), m a number from 0 to 1 for each concept; masks
    and estimator are those of `sobol`. xplique has masks of a Halton sequence, and means of S over
    many inputs, which `onnxcam craft` has too. The facts `importance_j` are all the indices.
    """
    features = np.maximum(a.reshape(len(a), -1), 0).astype(np.float64)
    columns = _read(bank, len(a)) if bank else None
    if columns is None:
        columns, _ = factors(features, min(concepts, *features.shape), "craft")
    count = columns.shape[1]
    if concept >= count:
        raise UsageError(
            f"concept {concept} is asked for, and there are {count}",
            "choose one from 0 on, or -1 for the one with the largest index",
        )
    own = amounts(features, columns)
    whole = amounts(np.maximum(layer.reshape(len(layer), -1), 0).astype(np.float64), columns)

    def changed() -> Iterator[Array]:
        for mask in variance.designs(count, designs, rng):
            yield (columns @ (mask[:, None] * whole)).reshape(layer.shape).astype(layer.dtype)

    y = np.stack(list(scores(changed(), designs * (count + 1))))
    indices, error = variance.total_indices(y, count)  # [K, concepts]
    chosen = indices.argmax(1) if concept < 0 else np.full(len(indices), concept)
    rows = np.arange(len(indices))
    there = own[chosen].reshape(-1, *a.shape[1:])
    flat = a.reshape(len(a), -1)  # with what is below 0: on tokens that is half, and gone as well
    left = float(np.linalg.norm(flat - columns @ own) / (np.linalg.norm(flat) or 1))
    facts = {"concept_shown": chosen, "left": np.full(len(rows), left)}
    facts |= {f"importance_{j}": indices[:, j] for j in range(count)}
    each = (-1, *[1] * (a.ndim - 1))
    spread = np.zeros(there.shape)  # where nothing is, also if the error is infinite
    np.multiply(error[rows, chosen].reshape(each), there, out=spread, where=there > 0)
    said = f"the concepts leave {left:.0%} of the layer" if left > _LEFT else None
    return Estimate(indices[rows, chosen].reshape(each) * there, spread, facts, (said,) * len(rows))


def _read(file: str, channels: int) -> Array:
    """Return the concepts of a file, float64 [channels, concepts], of length 1 each.

    Raises:
        InputError: It cannot be read, or holds no concepts of this layer.
    """
    found = load_said(file, "bank")
    if found.ndim != 2 or found.shape[1] != channels or not len(found):
        raise InputError(
            f"the bank {file} holds no concepts of this layer: its shape is {list(found.shape)}, "
            f"and the layer has {channels} channels",
            "make one of the same layer by `onnxcam craft`",
        )
    columns = np.maximum(found.T.astype(np.float64), 0)
    length = np.linalg.norm(columns, axis=0)
    return np.asarray(columns / np.where(length > 0, length, 1))
