"""How alike an input is to another one, or to an embedding: where there are no classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.targets.target import Outputs, Target


@dataclass(frozen=True)
class Similarity(Target):
    """The cosine of the angle between the scores and those of a reference.

    Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, and
    pytorch-grad-cam's similarity targets. Where the two sides of a model like CLIP are compared in
    the graph already, its similarity matrix is explained as classes are: its columns are texts (or
    pictures).

    Args:
        embedding: The reference, [D]: what the reduction layer holds of another input, as
            :meth:`onnxcam.Explainer.scores` returns it, or a text's embedding of a model like CLIP.
        input: The reference as an input instead: a path, a picture or a ready tensor, as an
            Explainer takes it.

    Raises:
        UsageError: Neither or both are given, or the embedding is no vector of numbers, or zero.
    """

    embedding: tuple[float, ...] | None = None
    input: Any = None
    of_class: ClassVar[bool] = False

    def __init__(self, embedding: ArrayLike | None = None, *, input: Any = None) -> None:
        if (embedding is None) == (input is None):
            raise UsageError(
                "a similarity is to one reference", "give an `embedding`, or an `input`"
            )
        object.__setattr__(self, "cls", None)
        object.__setattr__(self, "input", input)
        object.__setattr__(self, "embedding", None if embedding is None else _vector(embedding))

    def __hash__(self) -> int:
        """Return the hash of the reference: an input may have none."""
        return hash(self.embedding)

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        digits = hashlib.sha256(np.array(self.embedding or ()).tobytes()).hexdigest()[:8]
        return f"similarity to {digits}"

    def described(self, labels: Any, index: int = -1) -> str:
        """Return the quantity in words."""
        return "similarity"

    def referred(self, scores: Callable[[Any], Any]) -> Target:
        """Return the similarity to the scores of the input that it refers to."""
        return self if self.input is None else Similarity(scores(self.input))

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Y . r / (|y| |r|).

        Raises:
            UsageError: The reference is of another size, or is one number, of which nothing but
                the sign would count.
        """
        scores = outputs.scores
        if self.embedding is None:
            raise UsageError(
                "the reference is an input, whose scores an Explainer finds",
                "give its `embedding`: onnxcam.Explainer(model).scores(input)",
            )
        shape = shape_of(scores) or (None, None)
        if isinstance(shape[1], int) and shape[1] != len(self.embedding):
            raise UsageError(
                f"the reference has the shape [{len(self.embedding)}], and the scores "
                f"{outputs.reduction.name!r} {list(shape)}",
                "give one of that size, or name the embedding as `reduction_layer`",
            )
        if len(self.embedding) == 1:
            raise UsageError(
                f"the scores {outputs.reduction.name!r} {list(shape)} are one number for each "
                "input: how alike two are is their signs",
                "explain the score, or name an embedding as `reduction_layer`",
            )
        kind = dtype_of(scores) or np.dtype(np.float32)
        reference = np.array(self.embedding, np.float64)
        unit = op.const((reference / np.linalg.norm(reference))[None].astype(kind))
        along = op.ReduceSum(op.Mul(scores, unit), axes=[1], keepdims=0)
        return op.Div(along, op.ReduceL2(scores, axes=[1], keepdims=0))


def _vector(embedding: ArrayLike) -> tuple[float, ...]:
    values = np.asarray(embedding)
    if values.ndim == 2 and len(values) == 1:
        values = values[0]
    good = values.dtype.kind in "fiu" and values.ndim == 1 and np.isfinite(values).all()
    if not good or not values.any():
        what = f"{values.dtype.name}{list(values.shape)}"
        raise UsageError(
            f"the reference is {what}, no vector of numbers that are not all zero",
            "give one embedding, [D]; an input goes into `input=`",
        )
    return tuple(float(v) for v in values)
