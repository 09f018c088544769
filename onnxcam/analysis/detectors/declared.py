"""What a caller declares of a detector, in Python or in the file beside the model.

``[detector]`` in ``model.toml`` (or ``detector={...}``) may say:

- ``scores``, ``boxes``: the tensor, or a list of one a scale;
- ``axis``: the axis of the classes and of the box's numbers in them (default: 1 of four axes, else
  the last);
- ``first_class``, ``classes``, ``first_box``, ``anything``: where a tensor holds both, the first
  row of the classes and how many there are, the first row of the box, and the row of the
  probability that there is anything;
- ``format``: how a box is written, one of :data:`onnxcam.analysis.detectors.FORMS`;
- ``unit``: what its numbers count, one of :data:`onnxcam.analysis.detectors.UNITS`;
- ``final``: "Sigmoid" or "Softmax" where the file leaves the last function to its user, "none"
  where its scores are probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxcam.analysis.detectors.records import FORMS, UNITS, Boxes, Detector, Head
from onnxcam.analysis.layers import Reduction
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Tensor, shape_of
from onnxcam.model.draft import Draft

KEYS = (
    "scores", "boxes", "axis", "first_class", "classes", "first_box", "anything", "format", "unit",
    "final",
)  # fmt: skip
_FINALS = {"Sigmoid": "Sigmoid", "Softmax": "Softmax", "none": ""}


def of_declared(draft: Draft, reduction: Reduction, said: Mapping[str, Any]) -> Detector:
    """Return the part of a detector that is declared.

    Args:
        draft: The model.
        reduction: What is known of its scores.
        said: What is declared.

    Raises:
        UsageError: A key or a value is unknown, or there is no such tensor or axis.
    """
    for key in said:
        if key not in KEYS:
            raise UsageError(f"`detector` has no {key!r}", f"it may say {', '.join(KEYS)}")
    form = _one_of(said, "format", FORMS)
    unit = _one_of(said, "unit", UNITS)
    final = _one_of(said, "final", _FINALS)
    scores = [draft.tensor(name) for name in _names(said, "scores")]
    boxes = [draft.tensor(name) for name in _names(said, "boxes")]
    if scores and boxes and len(scores) != len(boxes):
        raise UsageError(
            f"`detector` names {len(scores)} tensors with scores and {len(boxes)} with boxes",
            "name as many, in the same order",
        )
    known = final if final is not None else reduction.final or "Sigmoid"
    return Detector(
        tuple(_head(t, said) for t in scores),
        tuple(_boxes(t, said) for t in boxes),
        _FINALS.get(known, known),
        form=form,
        unit=unit,
        single=not scores,
    )


def _names(said: Mapping[str, Any], key: str) -> list[str]:
    value = said.get(key, ())
    return [value] if isinstance(value, str) else [str(name) for name in value]


def _one_of(said: Mapping[str, Any], key: str, allowed: Mapping[str, str]) -> str | None:
    value = said.get(key)
    if value is None or value in allowed:
        return value
    listed = ", ".join(allowed)
    raise UsageError(f"`detector` says the {key} {value!r}", f"choose one of {listed}")


def _head(tensor: Tensor, said: Mapping[str, Any]) -> Head:
    axis, shape = _axis(tensor, said)
    first, count = int(said.get("first_class", 0)), said.get("classes")
    last = None if count is None else first + int(count)
    anything = said.get("anything")
    _check_rows(tensor, shape, axis, (first, last or first + 1, (anything or 0) + 1))
    batch = 0 if len(shape) > 2 else None
    return Head(str(tensor.name), batch, axis, first, last, anything)


def _boxes(tensor: Tensor, said: Mapping[str, Any]) -> Boxes:
    axis, shape = _axis(tensor, said)
    first = int(said.get("first_box", 0))
    _check_rows(tensor, shape, axis, (first + 4,))
    return Boxes(str(tensor.name), 0 if len(shape) > 2 else None, axis, first)


def _axis(tensor: Tensor, said: Mapping[str, Any]) -> tuple[int, Sequence[object]]:
    shape = shape_of(tensor)
    if shape is None:
        raise UsageError(f"the rank of {tensor.name!r} is unknown", "name another tensor")
    rank = len(shape)
    axis = int(said.get("axis", 1 if rank == 4 else -1))
    if not -rank <= axis < rank:
        raise UsageError(
            f"`detector` says axis {axis}, and {tensor.name!r} is {list(shape)}",
            f"give one from 0 to {rank - 1}",
        )
    return axis % rank, shape


def _check_rows(tensor: Tensor, shape: Sequence[object], axis: int, ends: Sequence[int]) -> None:
    size = shape[axis]
    if isinstance(size, int) and max(ends) > size:
        raise UsageError(
            f"`detector` speaks of row {max(ends) - 1} of axis {axis} of {tensor.name!r}, which is "
            f"{list(shape)}",
            "say the `axis` of the classes and boxes, or other rows",
        )
