"""What scores and maps say: probabilities, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Reduction
from onnxcam.errors import InputError, ModelError, UsageError

Array: TypeAlias = np.ndarray[Any, Any]

_MANY = 9  # positions, of which one alone says little
_ROUNDING = 1e-5  # of a gradient: a mean over positions below that is what float32 leaves of 0


def probability(scores: Array, target: int, reduction: Reduction) -> float | None:
    """Return the probability of a class; None where the scores are of no classes, or not finite.

    Args:
        scores: [C] values of the reduction layer.
        target: Class index.
        reduction: What they are; logits without a final Softmax are taken as a Softmax's.
    """
    if not scores.max() < np.inf:  # NaN neither
        return None
    found = probabilities(scores, reduction)
    if found is None:
        return None
    value = float(found[target])
    return value if 0 <= value <= 1 + 1e-6 else None  # percent, or a sum


def probabilities(
    scores: Array, reduction: Reduction, classes: Sequence[int] | None = None
) -> Array | None:
    """Return what scores [*, C] are as probabilities, float64; None where they are of no classes.

    Args:
        scores: Values of the reduction layer.
        reduction: What they are, as of :func:`probability`.
        classes: Those that are wanted, [*, K]; None for all.
    """
    if reduction.positions or reduction.kind not in ("logits", "probabilities"):
        return None
    wanted = scores if classes is None else scores[..., list(classes)]
    values = wanted.astype(np.float64)
    if reduction.kind == "probabilities":
        return values
    if reduction.final == "Sigmoid":
        return np.asarray(1 / (1 + np.exp(-values)))
    if scores.shape[-1] == 1:
        return None
    if reduction.final is None and scores.min(initial=0) >= 0:
        sums = np.abs(scores.sum(-1, dtype=np.float64) - 1)
        if (sums < 1e-3).all():
            return values
    whole = scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
    high = whole.max(-1, keepdims=True)  # what is far below it adds little
    away = whole - high
    total = np.exp(away, out=away).sum(-1, keepdims=True, dtype=np.float64)
    return np.asarray(np.exp(values - high) / total)


def probable(scores: Array, classes: Sequence[int], reduction: Reduction) -> Array:
    """Return what scores [N, C] say of some classes as probabilities, float64 [N, K].

    Raises:
        InputError: They are not finite.
        UsageError: They are no logits or probabilities of classes.
    """
    if not np.isfinite(scores).all():
        raise InputError("the scores are not finite", "look at the input's scaling")
    found = probabilities(scores, reduction, classes)
    if found is None or not ((found >= 0) & (found <= 1 + 1e-6)).all():
        raise UsageError(
            f"the scores {reduction.name!r} are no logits or probabilities of classes",
            "explain the scores themselves: score='score'",
        )
    return found


def claimed(
    scores: Array, target: int, reduction: Reduction, labels: Sequence[str] | None
) -> float | None:
    """Return the probability of a class where that is known to be one.

    Numbers that no Softmax or Sigmoid follows may be a regression: only what names their classes,
    or calls them logits, makes them a classifier's.

    Args:
        scores: [C] values of the reduction layer.
        target: Class index; -1 for none.
        reduction: What they are.
        labels: Names of the classes, None where nothing says them.
    """
    if target < 0:
        return None
    called = "logit" in f"{reduction.name} {reduction.output}".casefold()
    if reduction.kind == "logits" and reduction.final is None and not (labels or called):
        return None
    return probability(scores, target, reduction)


def checked_rows(rows: int, inputs: int, reduction: Reduction) -> None:
    """Check that the rows of the scores are the inputs.

    Args:
        rows: How many rows of scores came back.
        inputs: How many inputs were given.
        reduction: What is known of the scores.

    Raises:
        ModelError: They are not as many.
    """
    if rows == inputs:
        return
    what = "are positions, tiles, frames or findings" if rows % inputs == 0 else "are no inputs"
    hint = "name a tensor with a row for each input as `reduction_layer`"
    if rows < inputs:
        hint = (
            "where they are parts of one (frames, a bag), say so as `input_format`, such as "
            "'DCHW'; else explain one at a time, from Python with `batch_size=1`"
        )
    raise ModelError(
        f"{inputs} input{'s' * (inputs != 1)} became {rows} row{'s' * (rows != 1)} of scores: axis "
        f"{reduction.batch_axis} of {reduction.name!r} does not count inputs, its rows {what}",
        hint,
    )


def checked_maps(maps: Iterable[tuple[str, Array]], inputs: int) -> None:
    """Check that the rows of maps, each with the name of its layer, are the inputs.

    Raises:
        ModelError: They are not as many.
    """
    for layer, found in maps:
        rows = len(found)
        if rows != inputs:
            raise ModelError(
                f"{inputs} input{'s' * (inputs != 1)} became {rows} row{'s' * (rows != 1)} of "
                f"{layer!r}: its batch counts more than the inputs (crops, copies, others)",
                "name an earlier `feature_layer`, or explain at the input, as "
                "`method='saliency'` does",
            )


def not_finite(outputs: Mapping[str, Array]) -> tuple[str, ...]:
    """Return a warning, in words, where outputs (by name) are not finite; else nothing."""
    arrays = {n: y for n, y in outputs.items() if isinstance(y, np.ndarray)}  # no ZipMap's lists
    bad = [n for n, y in arrays.items() if y.dtype.kind == "f" and not np.isfinite(y).all()]
    if not bad:
        return ()
    names = ", ".join(map(repr, bad))
    return (f"on the sample the model's own outputs are not finite ({names}): give another one",)


def diagnose(
    raw: Array,
    signed: Array,
    scores: Array,
    steepest: float,
    rest: float = 1.0,
    *,
    layered: bool = True,
) -> tuple[str, ...]:
    """Return what went wrong or looks wrong, in words.

    Args:
        raw: The map.
        signed: The map before its negative part was cut off.
        scores: [C] values of the reduction layer.
        steepest: Largest absolute gradient of the score.
        rest: What the mean over the positions leaves of the gradient, for methods that take it.
        layered: Whether the map is of a feature layer.
    """
    found = []
    if not np.isfinite(scores).all():
        found.append("the scores are not finite: look at the input's scaling")
    if not np.isfinite(signed).all() or not np.isfinite(steepest):
        found.append("the map is not finite")
    elif steepest == 0:
        found.append("the gradient is zero: saturated (explain the logit), or a dead layer")
    elif rest <= _ROUNDING:
        found.append(
            "the weights are rounding noise, and so is the map: over the positions the gradient "
            "averages to zero, as before a normalisation over space; name a layer behind that, "
            "or take HiResCAM, which does not average"
        )
    elif not raw.any() and (signed < 0).any():
        found.append("all negative: nothing at this layer speaks for the class")
    elif raw.size > 1 and not signed.any():
        found.append(
            "the map is constant, 0: the gradient lies in tokens that stand for no place (a class "
            "token), or where the layer is 0; name an earlier layer"
        )
    elif raw.size > 1 and raw.min() == raw.max():
        found.append("the map is constant")
    elif layered and raw.size >= _MANY and np.count_nonzero(signed) == 1:
        found.append(
            f"one position of {raw.size} carries all of the map: behind this layer the score is "
            "read off that alone; an earlier layer shows what it is made of"
        )
    return tuple(found)


def by_class(scores: Array, classes: Array) -> Array:
    """Return scores of rows [R] as those of each class [C, R]; 0 of any other class."""
    sure = np.zeros((int(classes.max(initial=0)) + 1, len(scores)), scores.dtype)
    sure[classes, np.arange(len(scores))] = scores
    return sure
