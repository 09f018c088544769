"""What a caller asks of the scores of a model: whether there are such classes, and such names."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from onnxcam.analysis.layers import Reduction
from onnxcam.errors import UsageError
from onnxcam.targets.classes import Score
from onnxcam.targets.functions import Function
from onnxcam.targets.names import TOP
from onnxcam.targets.target import Target, Wanted


def as_target(target: Wanted) -> Target:
    """Return a target; a class by itself stands for its score, a function for what it returns.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(target, Target):
        return target
    if target is None or isinstance(target, str):
        return Score(target)
    if callable(target):
        return Function(target)
    try:
        return Score(operator.index(target))
    except TypeError:
        raise UsageError(
            f"a target of type {type(target).__name__} is no class, target or function",
            "give a class index or label, a target of `onnxcam.targets`, or a function of the "
            "scores",
        ) from None


def as_targets(wanted: Wanted | Sequence[Wanted]) -> list[Target]:
    """Return the targets of a call, which may ask for one or for a list of them."""
    if is_several(wanted):
        return [as_target(target) for target in wanted]  # type: ignore[union-attr]
    return [as_target(wanted)]  # type: ignore[arg-type]  # any other sequence is no target


def is_several(target: object) -> bool:
    """Tell whether a call asks for several targets: whether it gives a list of them."""
    return isinstance(target, list | tuple) or (isinstance(target, np.ndarray) and target.ndim > 0)


def fitting(
    labels: Sequence[str] | None, reduction: Reduction, *, wanted: bool
) -> tuple[str, ...] | None:
    """Return the names of the classes: those that are said, where they are as many, or the graph's.

    Args:
        labels: The names that are said, None for none.
        reduction: What is known of the scores.
        wanted: Whether a caller gives these names, or asks by one.

    Raises:
        UsageError: They are wanted, and are not as many as the scores.
    """
    count = reduction.classes
    if labels is None or count in (None, len(labels)):
        return tuple(labels or reduction.labels) or None
    if wanted:
        raise UsageError(
            f"{len(labels)} labels for {count} scores of {reduction.name!r}: names fit where there "
            "is one for each",
            "give as many, or name the tensor with as many scores as `reduction_layer`",
        )
    return reduction.labels or None


def resolved(
    targets: Sequence[Target],
    reduction: Reduction,
    labels: Sequence[str] | None,
    *,
    given: bool = False,
) -> list[tuple[Target, int]]:
    """Return targets without their classes, and the index of each (-1 for the top class).

    Args:
        targets: What is asked for.
        reduction: What is known of the scores.
        labels: The names of classes that are said, None for none.
        given: Whether the caller gave them.

    Raises:
        UsageError: No target is given, there is no such class, or the top class is asked for
            where the highest score may be of no class.
    """
    if not targets:
        raise UsageError("no target is given", "give a class, or None for the top class")
    asked = given or any(t.names_labels for t in targets)
    names = fitting(labels, reduction, wanted=asked)
    pairs = [t.resolved(reduction.classes, names) for t in targets]
    if reduction.mixed and any(t.of_class and index == TOP for t, index in pairs):
        raise UsageError(
            f"the {reduction.classes or ''} rows of {reduction.name!r} are not all classes: which "
            "is the highest says nothing",
            "give the row that is meant as the target, or name the tensor with the classes alone "
            "as `reduction_layer`",
        )
    return pairs
