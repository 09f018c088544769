"""What a caller declares of a detector, in Python or in the file beside the model.

``[detector]`` in ``model.toml`` (or ``detector={...}``) may say:

- ``scores``, ``boxes``: the tensor, or a list of one a scale;
- ``axis``: the axis of the classes and of the box's numbers in them (default: 1 of four axes, else
  the last); ``each``: how many boxes of a cell stand in that axis, one behind the other;
- ``first_class``, ``classes``, ``first_box``, ``anything``: where a tensor holds both, the first
  row of the classes and how many there are, the first row of the box, and the row of the
  probability that there is anything;
- ``format``: how a box is written, one of :data:`onnxcam.analysis.detectors.FORMS`;
- ``unit``: what its numbers count, one of :data:`onnxcam.analysis.detectors.UNITS`;
- ``anchors``: of forms that count from anchors: a file or an array [A, 4], a constant of the model,
  or for each scale the widths and heights of a cell's; ``anchor_format`` ("cxcywh", "xyxy");
  ``sizes`` and ``ratios`` make them as torchvision does; ``anchor_point``: where in its cell an
  anchor's middle lies (0.5; 0 of torchvision's);
- ``variances``: what the numbers are multiplied with first (SSD: 0.1, 0.1, 0.2, 0.2);
- ``order``: where x, y and the other two stand among the four numbers;
- ``activation``: a function of the numbers, or one of the first two and one of the last two:
  "none", "exp", "relu", "sigmoid", "tanh";
- ``powers``: of the probability that there is anything, and of that of a class, in their product
  (FastestDet: 0.6, 0.4; default 1, 1);
- ``bins``: of how many bins a distribution is whose mean each number is (NanoDet: 8);
- ``nothing``: which class stands for nothing behind a Softmax, -1 for the last; where it is not
  said it is the last of a detector of queries, else the first or the last, by a run;
- ``columns``: of a model that suppresses boxes itself, what the columns of its rows are: "box",
  "score", "class", "anything", "input" or "other" in the order that they stand in;
- ``final``: "Sigmoid" or "Softmax" (with a class for nothing) where the file leaves the last
  function to its user, "none" where its scores are probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxcam.analysis.detectors.anchors import generated, read_anchors
from onnxcam.analysis.detectors.coding import Anchors, Coding
from onnxcam.analysis.detectors.decoding import BENDS, needs_anchors
from onnxcam.analysis.detectors.records import FORMS, UNITS, Boxes, Detector, Head
from onnxcam.analysis.layers import Reduction
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Tensor, const_value, shape_of
from onnxcam.model.draft import Draft

KEYS = (
    "scores", "boxes", "axis", "each", "first_class", "classes", "first_box", "anything", "format",
    "unit", "anchors", "anchor_format", "anchor_point", "sizes", "ratios", "variances", "order",
    "activation", "bins", "powers", "final", "nothing", "columns",
)  # fmt: skip
_FINALS = {"Sigmoid": "Sigmoid", "Softmax": "Softmax", "none": ""}
_ANCHOR_FORMS = {"cxcywh": "", "xyxy": ""}
_ACTIVATIONS = ("none", "exp", "relu", "sigmoid", "tanh")


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
    if not isinstance(said.get("nothing", 0), int):
        raise UsageError(f"`detector` says nothing {said['nothing']!r}", "give a class's number")
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
        background=final == "Softmax",
        form=form,
        unit=unit,
        coding=_coding(draft, said, form),
        single=not scores,
    )


def _coding(draft: Draft, said: Mapping[str, Any], form: str | None) -> Coding:
    """Return what is declared of how boxes are written.

    Raises:
        UsageError: A value is none, or the form counts from anchors that are not given.
    """
    anchors = _anchors(draft, said)
    if form is not None and needs_anchors(form) and anchors is None:
        raise UsageError(
            f"boxes of the format {form} are counted from anchors, and `detector` gives none",
            "give `anchors`: a file [A, 4], or for each scale the widths and heights of a cell's",
        )
    variances = _numbers(said, "variances", float) or [1.0] * 4
    if len(variances) == 2:  # of centre and size
        variances = [v for v in variances for _ in (0, 1)]
    order = _numbers(said, "order", int)
    if len(variances) != 4 or (order and sorted(order) != [0, 1, 2, 3]):
        raise UsageError(
            f"`detector` says variances {variances} and order {order or [0, 1, 2, 3]}",
            "give four variances (or two, of centre and size), and an order of 0, 1, 2 and 3",
        )
    named = said.get("activation", ())
    names = [named] * 2 if isinstance(named, str) else list(named)
    if names and (len(names) != 2 or any(n not in _ACTIVATIONS for n in names)):
        raise UsageError(
            f"`detector` says the activation {named!r}",
            f"give one or two of {', '.join(_ACTIVATIONS)}",
        )
    bends = tuple("" if n == "none" else n for n in names)
    assert all(b in BENDS for b in bends)
    powers = _numbers(said, "powers", float) or [1.0, 1.0]
    if len(powers) != 2 or min(powers) <= 0:
        raise UsageError(f"`detector` says powers {powers}", "give two positive numbers")
    return Coding(anchors, tuple(variances), tuple(order), bends, tuple(powers))  # type: ignore[arg-type]


def _anchors(draft: Draft, said: Mapping[str, Any]) -> Anchors | None:
    """Return the anchors that are declared, None for none."""
    given, point = said.get("anchors"), said.get("anchor_point", 0.5)
    if not isinstance(point, int | float) or not 0 <= point <= 1:
        raise UsageError(f"`detector` says the anchor_point {point!r}", "give 0 to 1")
    if given is None:
        sizes = said.get("sizes")
        return None if sizes is None else generated(sizes, said.get("ratios", (1.0,)), point)
    form = _one_of(said, "anchor_format", _ANCHOR_FORMS) or "cxcywh"
    if isinstance(given, str) and given in draft.graph.tensors():
        given = const_value(draft.tensor(given))
        if given is None:
            raise UsageError(
                f"the anchors of `detector`, {said['anchors']!r}, are computed from the input",
                "name a constant of the model, or a file",
            )
    return read_anchors(given, form, float(point))


def _numbers(said: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """Return a list of numbers; of words that are numbers, as a shell gives them, too."""
    value = said.get(key, ())
    try:
        return [kind(v) for v in ([value] if isinstance(value, str | int | float) else value)]
    except (TypeError, ValueError):
        raise UsageError(f"`detector` says {key} {value!r}", "give a list of numbers") from None


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
    anything, each = said.get("anything"), _each(tensor, shape, axis, said)
    _check_rows(tensor, shape, axis, each, (first, last or first + 1, (anything or 0) + 1))
    batch = 0 if len(shape) > 2 else None
    return Head(str(tensor.name), batch, axis, first, last, anything, each=each)


def _boxes(tensor: Tensor, said: Mapping[str, Any]) -> Boxes:
    axis, shape = _axis(tensor, said)
    first, bins = int(said.get("first_box", 0)), int(said.get("bins", 0))
    each = _each(tensor, shape, axis, said)
    _check_rows(tensor, shape, axis, each, (first + 4 * max(bins, 1),))
    return Boxes(str(tensor.name), 0 if len(shape) > 2 else None, axis, first, (), each, bins)


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


def _each(tensor: Tensor, shape: Sequence[object], axis: int, said: Mapping[str, Any]) -> int:
    """Return how many boxes of a cell stand in the axis."""
    each, size = int(said.get("each", 1)), shape[axis]
    whole = not isinstance(size, int) or size % max(each, 1) == 0
    if each < 1 or not whole or (each > 1 and (len(shape), axis) != (4, 1)):
        raise UsageError(
            f"`detector` says that each cell of {tensor.name!r} {list(shape)} has {each} boxes",
            "`each` parts axis 1 of [N, boxes * rows, h, w]",
        )
    return each


def _check_rows(
    tensor: Tensor, shape: Sequence[object], axis: int, each: int, ends: Sequence[int]
) -> None:
    size = shape[axis]
    if isinstance(size, int) and max(ends) > size // each:
        raise UsageError(
            f"`detector` speaks of row {max(ends) - 1} of axis {axis} of {tensor.name!r}, which is "
            f"{list(shape)}",
            "say the `axis` of the classes and boxes, or other rows",
        )
