"""What a caller says of a model's layers, where the graph is not to be asked or does not tell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from onnxcam.analysis.layers.candidates import catalog
from onnxcam.analysis.layers.records import Asked
from onnxcam.analysis.layout.records import SPACE
from onnxcam.errors import UsageError
from onnxcam.inputs import InputSpec
from onnxcam.inputs.places import gather
from onnxcam.model.model import Model

Describing: TypeAlias = "str | os.PathLike[str] | InputSpec | None"
_HINT = (
    "one letter an axis: B or N the batch, C channels, S space, T time, or D, H, W by name; such "
    "as 'BTC', 'SSCB', 'NHWC'"
)


def letters(format: str, what: str) -> str:
    """Return the letters of a layout from those of a format, MATLAB's included.

    Args:
        format: A letter for each axis. ``B`` or ``N``: batch; ``C``: channels; ``S``: space, in
            order; ``T``: time, which comes before the axes of space; ``D``, ``H``, ``W``: these.
        what: The argument, for messages.

    Returns:
        The letters N, C, D, H and W.

    Raises:
        UsageError: It is no format.
    """
    given = format.upper()
    space = [c for c in given if c in "STDHW"]
    if not given or set(given) - set("BNCSTDHW") or not 1 <= len(space) < len(SPACE):
        raise UsageError(f"{what} {format!r} is no format", _HINT)
    if set(given) & set("ST"):
        if set(given) & set("DHW"):
            raise UsageError(f"{what} {format!r} mixes S or T with D, H, W", _HINT)
        first = sorted(range(len(space)), key=lambda i: space[i] != "T")
        names = dict(zip(first, SPACE[len(space)], strict=True))
        order = iter(names[i] for i in range(len(space)))
        given = "".join(next(order) if c in "ST" else c for c in given)
    given = given.replace("B", "N")
    if len(set(given)) != len(given):
        raise UsageError(f"{what} {format!r} names an axis twice", _HINT)
    return given


def _described(model: Model, score: Asked, option: Describing) -> str | None:
    """Return the axes of an input as a description of it says, where the graph does not tell."""
    layout = catalog(model, score).input_layout
    if layout is not None and "?" not in layout.axes:
        return None
    fields, _ = gather(model.path, model.metadata, option)
    said: str | None = fields.get("layout")
    return said


def asked(
    model: Model,
    score: Asked,
    input_format: str | None = None,
    feature_format: str | None = None,
    feature_layers: str | Sequence[str] | None = None,
    preprocess: Describing = None,
) -> Asked:
    """Return what is asked for, from a caller's arguments.

    Args:
        model: The model.
        score: What is said of the score and the input.
        input_format: Meaning of the axes of the input, as for :func:`letters`.
        feature_format: Of the feature layers.
        feature_layers: Their names, or its name. Where the caller names no input, and they lie on
            the way of another one than the usual alone, it is that input.
        preprocess: A preset's name, a TOML file or a description of the input, whose layout is
            taken where nothing else says one; None looks beside and into the model.

    Raises:
        UsageError: A format is none, or one is given of a feature layer that is not named, or what
            describes the input is wrong.
    """
    names = [feature_layers] if isinstance(feature_layers, str) else list(feature_layers or ())
    formats = []
    input_format = input_format or _described(model, score, preprocess)
    if input_format is not None:
        given = letters(input_format, "input_format")
        formats.append((score.input or catalog(model, score).input, given))
    if feature_format is not None:
        if not names:
            raise UsageError("a feature format is of a layer", "name it with `feature_layer`")
        given = letters(feature_format, "feature_format")
        formats += [(name, given) for name in names]
    return _holding(model, replace(score, formats=tuple(formats)), names)


def _holding(model: Model, asked: Asked, names: Sequence[str]) -> Asked:
    """Return what is asked for, of an input on whose way to the score these layers lie."""
    if asked.input is not None or not names:
        return asked
    usual = catalog(model, asked).input  # asked for by its name it would be looked through again
    others = (replace(asked, input=p.name) for p in model.inputs if p.name != usual)
    for other in (asked, *others):
        try:
            there = {c.name for c in catalog(model, other).candidates}
        except UsageError:
            continue  # the score does not depend on it
        if there.issuperset(names):
            return other
    return asked
