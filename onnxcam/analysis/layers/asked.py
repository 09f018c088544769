"""What a caller says of a model's layers, where the graph is not to be asked or does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxcam.analysis.layout.records import SPACE
from onnxcam.errors import UsageError

_HINT = (
    "one letter an axis: B or N the batch, C channels, S space, T time, or D, H, W by name; such "
    "as 'BTC', 'SSCB', 'NHWC'"
)


@dataclass(frozen=True)
class Asked:
    """Which layers are asked for.

    Attributes:
        reduction_layer: Name of the tensor to take the score from; None chooses it.
        class_axis: Axis of its classes; None reads it off the graph.
        input: Name of the input that maps are laid over; None takes the first with space.
        formats: Meaning of the axes of tensors: pairs of name and letters, as :func:`letters`
            returns them. They overrule what the graph says.
    """

    reduction_layer: str | None = None
    class_axis: int | None = None
    input: str | None = None
    formats: tuple[tuple[str, str], ...] = ()


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
    if not given or set(given) - set("BNCSTDHW") or not 1 <= len(space) <= len(SPACE):
        raise UsageError(f"{what} {format!r} is no format", _HINT)
    if set(given) & set("ST"):
        if set(given) & set("DHW"):
            raise UsageError(f"{what} {format!r} mixes S or T with D, H, W", _HINT)
        names = dict(zip(sorted(range(len(space)), key=lambda i: space[i] != "T"), SPACE[len(space)], strict=True))
        order = iter(names[i] for i in range(len(space)))
        given = "".join(next(order) if c in "ST" else c for c in given)
    given = given.replace("B", "N")
    if len(set(given)) != len(given):
        raise UsageError(f"{what} {format!r} names an axis twice", _HINT)
    return given


def asked(
    reduction_layer: str | None = None,
    class_axis: int | None = None,
    input: str | None = None,
    input_format: str | None = None,
    feature_format: str | None = None,
    feature_layers: Sequence[str] = (),
    first: str = "",
) -> Asked:
    """Return what is asked for, from a caller's arguments.

    Args:
        reduction_layer: See :class:`Asked`.
        class_axis: See there.
        input: See there.
        input_format: Meaning of the axes of the input, as for :func:`letters`.
        feature_format: Of the feature layers.
        feature_layers: Their names.
        first: The input that ``input_format`` is of where none is named.

    Raises:
        UsageError: A format is none, or one is given of a feature layer that is not named.
    """
    formats = []
    if input_format is not None:
        formats.append((input or first, letters(input_format, "input_format")))
    if feature_format is not None:
        if not feature_layers:
            raise UsageError("feature_format is of a layer", "name it with `feature_layer`")
        given = letters(feature_format, "feature_format")
        formats += [(name, given) for name in feature_layers]
    return Asked(reduction_layer, class_axis, input, tuple(formats))
