"""One observation as MATLAB has it, with its channels behind, as the tensor that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layout.records import SPACE
from onnxcam.errors import InputError, UsageError
from onnxcam.explain import Explainer

Array: TypeAlias = np.ndarray[Any, Any]
_USUAL = {2: "CT", 3: "SSC", 4: "SSSC"}
_LETTERS = "SCBTU"


@dataclass(frozen=True)
class Observation:
    """An observation in a model's axes.

    Attributes:
        tensor: With a batch of 1, in the model's axes.
        order: The places of the map's axes: those of the model's space in the order that the
            observation has them.
    """

    tensor: Array
    order: tuple[int, ...]

    def laid(self, map: Array) -> Array:
        """Return a map [*space] of the model in the axes of the observation: of one [1, t]."""
        return map[None] if map.ndim == 1 else map.transpose(self.order)


def observed(explainer: Explainer[Any], x: Any, formats: str | None) -> Observation:
    """Return an observation as a model takes it.

    Args:
        explainer: Of the model.
        x: [h, w, c] or [h, w], [h, w, d, c], [c, t]. Reals are taken as they are; uint8 pixels
            as what describes the model's input says, but for their size.
        formats: What each axis is: S, T, C, B (of size 1); None for the above.

    Raises:
        InputError: Its axes are not those of the model's input.
        UsageError: The format is none, or the axes of the model's input are not known.
    """
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"X is a {type(x).__name__} of {values.dtype}, no array of numbers",
            "read it first: np.asarray(PIL.Image.open(path))",
        )
    axes = _axes(explainer)
    letters = _letters(values, formats, len(axes.strip("NC").replace("C", "")))
    values, places = _unbatched(values, letters)
    space = [i for i, c in enumerate(places) if c in "ST"]
    wanted = [c for c in axes if c not in "NC"]
    if len(space) != len(wanted):
        raise InputError(
            f"X {list(values.shape)} has {len(space)} axes of space or time, and the input "
            f"{explainer.input} has {len(wanted)}",
            "say what each axis is with `input_data_formats`, such as 'SSC' or 'CT'",
        )
    # Time comes before space in a model's letters, D H W.
    inner = sorted(space, key=lambda i: places[i] != "T")
    if "C" not in places:
        values, channel = values[..., None], values.ndim
    else:
        channel = places.index("C")
    pixels = _channels_last(values, inner, channel)
    tensor = _in_axes(_scaled(explainer, pixels), axes, wanted)
    return Observation(tensor, tuple(inner.index(i) for i in space))


def _axes(explainer: Explainer[Any]) -> str:
    """Return the letters of the model's input."""
    axes = explainer.input.layout or ""
    if "N" not in axes or not set(axes) <= set("NC" + SPACE[3]) or not set(axes) - set("NC"):
        raise UsageError(
            f"the axes of the input {explainer.input} are not a batch, channels and space "
            f"({axes or 'unknown'})",
            "use `onnxcam.Explainer` with `input_format`, which takes the array as the model does",
        )
    return axes


def _letters(values: Array, formats: str | None, extents: int) -> str:
    if formats is None:
        plain = values.ndim == 2 and extents == 2  # a grey picture, which has lost its last axis
        formats = "SS" if plain else _USUAL.get(values.ndim, "")
    if isinstance(formats, Sequence) and not isinstance(formats, str) and len(formats) == 1:
        formats = formats[0]
    given = str(formats).upper()
    rank = len(given) == values.ndim
    if not rank or set(given) - set(_LETTERS) or any(given.count(c) > 1 for c in "CBT"):
        raise UsageError(
            f"input_data_formats {formats!r} does not say what each axis of X "
            f"{list(values.shape)} is",
            "one letter an axis: S space, T time, C channels, B batch; such as 'SSC', 'CT', 'CBT'",
        )
    return given


def _unbatched(values: Array, letters: str) -> tuple[Array, str]:
    """Return an observation without axes that say nothing: those of the batch and U."""
    drop = tuple(i for i, c in enumerate(letters) if c in "BU")
    long = next((i for i in drop if values.shape[i] != 1), None)
    if long is not None:
        raise InputError(
            f"X {list(values.shape)} holds {values.shape[long]} observations on axis {long}",
            "give one: X[..., [0]]",
        )
    return values.squeeze(drop), "".join(c for c in letters if c not in "BU")


def _channels_last(values: Array, space: Sequence[int], channel: int) -> Array:
    return values.transpose([*space, channel])


def _scaled(explainer: Explainer[Any], pixels: Array) -> Array:
    """Return pixels as the model wants its numbers; what is no uint8 is that already."""
    kind = explainer.input.dtype
    if pixels.dtype != np.uint8 or kind == np.uint8:
        return pixels if pixels.dtype.kind == kind.kind else pixels.astype(kind)
    spec = explainer.spec
    if not spec.pictures:
        raise UsageError(
            f"X is uint8, and the input {explainer.input} takes no pictures",
            "give reals, as the model takes them, or say how pixels become them: "
            "`preprocess=PRESET|FILE.toml` of `onnxcam.Explainer`, or a .toml beside the model",
        )
    if spec.channels == "BGR":
        pixels = pixels[..., ::-1]
    scaled = (pixels * spec.scale - np.asarray(spec.mean)) / np.asarray(spec.std)
    return np.asarray(scaled, kind)


def _in_axes(values: Array, axes: str, space: Sequence[str]) -> Array:
    """Return [*space, C] in a model's axes, with a batch of 1."""
    named = "".join(space) + "C"
    if "C" not in axes:
        if values.shape[-1] != 1:
            raise InputError(
                f"X has {values.shape[-1]} channels, and the model's input ({axes}) has none",
                "give one channel",
            )
        values, named = values[..., 0], named[:-1]
    turned = values.transpose([named.index(c) for c in axes if c != "N"])
    return np.expand_dims(turned, axes.index("N"))
