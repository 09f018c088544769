"""Which boxes are explained: what a target asks for, and what a detector found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from onnxcam.errors import InputError, UsageError
from onnxcam.output.detection import Detected
from onnxcam.output.explanation import Explanation
from onnxcam.run.findings import Findings
from onnxcam.run.overlap import overlap
from onnxcam.targets import Box, Detections, Target
from onnxcam.targets.boxes import LEAST, OVER, UNSURE, any_box

Asked: TypeAlias = "tuple[int, Detected]"
_LISTED = 4


def compiled(target: Target, alone: bool) -> Target:
    """Return the target that is written into a graph: mostly that of a box whose row is fed.

    Args:
        target: What is asked for.
        alone: Whether all boxes are rows that suppression left, so that the best one is a row too.
    """
    return any_box() if alone or isinstance(target, Box | Detections) else target


def chosen(target: Target, index: int, found: Findings) -> list[Asked]:
    """Return what a target means in one input: what is fed for it, and the finding.

    Args:
        target: A target of boxes, without its class.
        index: Its class, or the row of a box; -1 for the surest.
        found: What is found in the input.

    Raises:
        UsageError: There is no such row, or no place is known of any box.
        InputError: No box is at the place that is asked for.
    """
    if isinstance(target, Detections):
        cls = target.cls if isinstance(target.cls, int) else None
        return [(r, found.row(r)) for r in found.over(target.over, target.same, cls)]
    if isinstance(target, Box):
        row = _row(target, index, found)
        return [(row, found.row(row))]
    detected = found.of_class(index)
    return [(detected.row if found.alone else detected.target, detected)]


def doubts(target: Target, detected: Detected) -> tuple[str, ...]:
    """Return what a reader of the map of a finding must know, in words."""
    said: tuple[str, ...] = ()
    if isinstance(target, Box) and target.box is not None and detected.box is not None:
        shared = float(overlap(np.array([detected.box]), np.array(target.box))[0])
        if shared < OVER:
            said = (f"the box overlaps the place that is asked for by {100 * shared:.0f} % alone",)
    if isinstance(target, Detections) or detected.probability >= OVER:
        return said
    sure = f"{100 * detected.probability:.2g} %"
    return (*said, f"no finding: the model is {sure} sure of this box")


def _row(target: Box, index: int, found: Findings) -> int:
    count = len(found.rows)
    if target.box is None and index >= 0 and found.unread:
        raise UsageError(
            f"a box is asked for by its row, and what the rows of {found.unread!r} are, which the "
            "model's suppression leaves, is not known",
            "say as `detector` what their columns are, such as columns=class,score,box; or name "
            "the box by its place or class",
        )
    if target.box is None:
        if index >= count or not count:
            last = f"give one from 0 to {count - 1}" if count else "there is nothing to explain"
            raise (UsageError if count else InputError)(
                f"there is no box {index}: the model says {count}{_listed(found)}", last
            )
        return index if index >= 0 else int(found.rows.argmax())
    if found.places is None and count:
        raise UsageError(
            "a box is asked for by its place, and how this model writes its boxes is not known",
            "say its format and unit as `detector`, or name the box by its row",
        )
    cls = target.cls if isinstance(target.cls, int) else None
    place = found.at(target.box, cls)
    edges = ", ".join(f"{e:g}" for e in target.box)
    if place is None or place[1] < LEAST or found.rows[place[0]] < UNSURE:
        raise InputError(f"no box is at {edges}{_listed(found)}", "give one of these, or its row")
    return place[0]


def _listed(found: Findings) -> str:
    """Say which findings there are."""
    rows: Sequence[int] = found.over(OVER, 0.45)
    if not rows:
        return f"; none of {len(found.rows)} is over {OVER:g}"
    said = "; ".join(str(found.row(r)) for r in rows[:_LISTED])
    more = f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
    return f"; over {OVER:g} are {said}{more}"


def told(
    maps: Mapping[str, Explanation], detected: Detected, doubts: tuple[str, ...], settled: str
) -> dict[str, Explanation]:
    """Return explanations of a box with what the detector says of it.

    Args:
        maps: The explanations.
        detected: The box.
        doubts: What a reader must know of it.
        settled: A doubt that what is declared has settled; "" for none.
    """
    label = detected.label
    return {
        name: replace(
            e,
            detection=detected,
            label=e.label or label,
            diagnosis=(*(d for d in e.diagnosis if d != settled), *doubts),
        )
        for name, e in maps.items()
    }
