"""Several explanations in one figure: of methods, layers, targets, models, or of many pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from onnxcam.errors import UsageError, plain
from onnxcam.output import render
from onnxcam.output.explanation import Explanation
from onnxcam.output.subject import as_picture

Several: TypeAlias = "Explanation | Mapping[str, Any] | Iterable[Any]"


def panel(
    explanations: Several,
    *,
    names: Sequence[str] = (),
    scale: render.Scale = "own",
    columns: int | None = None,
    style: render.Style | None = None,
    size: int = 240,
    enlarged: float | None = None,
    title: str | None = None,
    **blending: Any,
) -> render.Figure:
    """Draw explanations in one figure; what they have in common is said once.

    Args:
        explanations: What :class:`onnxcam.Explainer` returns: an explanation, a list of them, a
            dict of them by name, or lists of such; of any models.
        names: What each is called in its caption; the default says what differs.
        scale: ``own``: every map on a scale of its own; ``one``: all on one, which only says
            something of maps of one unit. The figure says which.
        columns: Maps in a row; None takes about as many as rows.
        style: How every map is drawn; None draws each as its method is.
        size: Longer side of a picture, pixels.
        enlarged: Instead of a size: how many pixels a pixel of the picture becomes.
        title: Of the figure; None takes the picture's name where there is one.
        blending: ``colormap``, ``alpha`` and the other options of
            :func:`onnxcam.output.render.overlay`.

    Returns:
        A PIL image. Of inputs that are no pictures, the figures below each other.

    Raises:
        UsageError: There is none, or an option has no such value.
    """
    flat = list(_flat(explanations))
    if names and len(names) != len(flat):
        raise UsageError(f"{len(names)} names for {len(flat)} maps", "give one a map, or none")
    if not flat:
        raise UsageError("there is nothing to draw", "give explanations")
    if any(e.map.ndim != 2 for e in flat):
        return render.below_each_other([e.figure(**blending) for e in flat])
    one = len({id(e.picture) if e.picture is not None else e.tensor.tobytes() for e in flat}) == 1
    how = {"style": style, "colormap": None, **blending}
    panels = [_panel(e, flat, names[i] if names else None, how) for i, e in enumerate(flat)]
    if one:
        first = render.Panel(panels[0].picture, title="the input", lines=_size(panels[0].picture))
        panels.insert(0, first)
    name = Path(flat[0].source).name if one and flat[0].source != "array" else ""
    return render.figure_panels(
        panels,
        title=plain(name if title is None else title),
        subtitle=_common(flat),
        note=_prepared(flat),
        scale=scale,
        columns=columns,
        size=size,
        enlarged=enlarged,
    )


def save_panel(explanations: Several, path: str | os.PathLike[str], **options: Any) -> None:
    """Write the figure of :func:`panel`; the path's ending says in which format."""
    render.save_image(panel(explanations, **options), path)


def _flat(given: Any) -> Iterator[Explanation]:
    if isinstance(given, Explanation):
        yield given
    elif isinstance(given, Mapping):
        for each in given.values():
            yield from _flat(each)
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes):
        for each in given:
            yield from _flat(each)
    else:
        raise UsageError(f"{type(given).__name__} is no explanation", "give what explainers return")


def _panel(
    e: Explanation, all: Sequence[Explanation], name: str | None, how: Mapping[str, Any]
) -> render.Panel:
    lines = [_made(e)] if len({_made(each) for each in all}) > 1 else []
    if len({each.model_sha256 for each in all}) > 1:
        lines.append(f"model {e.model_sha256[:8]}")
    if len({each.source for each in all}) > 1:
        lines.insert(0, Path(e.source).name)
    style = cast("render.Style", how["style"] or e.style)
    picture, map, options = as_picture(e), e.plane, e.drawn(style)
    given = {k: v for k, v in how.items() if k != "style" and v is not None}
    return render.Panel(
        picture,
        map,
        plain(name if name is not None else e.title),
        tuple(plain(line) for line in lines),
        tuple(plain(f"Warning: {each}") for each in e.diagnosis),
        e.box,
        style,
        e.per_channel,
        e.marks,
        {**options, **given},  # type: ignore[typeddict-item]
    )


def _made(e: Explanation) -> str:
    return f"{e.method} at {e.feature_layer}"


def _common(all: Sequence[Explanation]) -> str:
    """Return the method that all have in common."""
    made = {_made(e) for e in all}
    return plain(made.pop()) if len(made) == 1 else ""


def _prepared(all: Sequence[Explanation]) -> str:
    """Return how all pictures became inputs, where that is the same."""
    said = {e.preprocessing for e in all}
    return plain(f"input: {said.pop()}") if len(said) == 1 and said != {""} else ""


def _size(picture: np.ndarray[Any, Any]) -> tuple[str, ...]:
    return (f"{picture.shape[1]} x {picture.shape[0]} pixels",)
