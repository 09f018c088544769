"""The model's input as it is, and the description of what to put there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from onnxcam.inputs.fields import FIELDS, check_fields

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class ModelInput:
    """One input of a model, as the model itself declares it.

    Attributes:
        name: The tensor's name.
        shape: One entry an axis: an int, a symbol's name, or None.
        dtype: The element type.
        layout: One letter an axis, such as "NCHW"; None where unknown.
        unfolded: Axes and shape of the pictures that it takes flattened; None where it takes none.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype[Any]
    layout: str | None = None
    unfolded: tuple[str, tuple[int | str | None, ...]] | None = None

    @property
    def pictured(self) -> tuple[int | str | None, ...]:
        """The shape of the pictures that it takes."""
        return self.shape if self.unfolded is None else self.unfolded[1]

    def __str__(self) -> str:
        """Return name, type and shape as messages show them."""
        return f"{self.name!r} {self.dtype.name}{show_shape(self.shape)}"


@dataclass(frozen=True)
class InputSpec:
    """How a picture becomes the input tensor: `(pixel * scale - mean) / std`, pixel in 0..255.

    A field that is None is left to the model's own input (`resolve` fills it in).

    Attributes:
        layout: One letter an axis of the tensor: N, C, H, W for pictures.
        size: Height and width of the tensor, in pixels; the centre of the resized picture.
            None on a resolved description: the picture's own.
        resize: "shortest" brings the shorter side to `resize_size` and keeps the aspect;
            "stretch" goes straight to `size` (or to a square of `resize_size`, cropped to
            `size` after); "none" leaves the picture as it is.
        resize_size: Pixels, see `resize`.
        interpolation: Pillow's filter, with antialiasing: "bilinear", "bicubic", "nearest",
            "lanczos".
        channels: "RGB", "BGR" or "GRAY": the order of the tensor's channels.
        scale: Multiplies the pixel first.
        mean: Subtracted after scaling: one number, or one a channel of the tensor.
        std: Divides after that: one number, or one a channel of the tensor.
        dtype: The tensor's element type, by NumPy's name.
        labels: The names of the model's classes.
        pictures: False where only ready arrays are taken.
        detector: What the outputs of a detector are, as pairs of a key and a value: see
            :mod:`onnxcam.analysis.detectors.declared`.
        source: Field -> where it was said, for printing; no part of equality.

    Raises:
        UsageError: A field holds a wrong value.
    """

    layout: str | None = None
    size: tuple[int, int] | None = None
    resize: str = "stretch"
    resize_size: int | None = None
    interpolation: str = "bilinear"
    channels: str | None = None
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str | None = None
    labels: tuple[str, ...] | None = None
    pictures: bool = True
    detector: tuple[tuple[str, Any], ...] | None = None
    source: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Check every field that is set, and make lists tuples."""
        for name, value in check_fields(self.said(), "InputSpec").items():
            object.__setattr__(self, name, value)

    @property
    def summary(self) -> str:
        """What becomes of a picture's pixels, in words."""
        values = f"(x * {self.scale:.6g} - {_numbers(self.mean)}) / {_numbers(self.std)}"
        return f"{self.resize}, {self.channels}, {values}"

    @property
    def described(self) -> str:
        """The same, and where it is said."""
        places = dict.fromkeys(self.source.get(name, "") for name in ("scale", "mean", "std"))
        named = [place for place in places if place not in ("", "default")]
        return f"{self.summary}{f' ({named[0]})' if named else ''}"

    def said(self) -> dict[str, Any]:
        """Return the fields that are set, without `source`."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in values.items() if value is not None}


PRESETS: Mapping[str, InputSpec] = MappingProxyType(
    {
        "imagenet": InputSpec(
            size=(224, 224),
            resize="shortest",
            resize_size=256,
            channels="RGB",
            scale=1 / 255,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        "keras-tf": InputSpec(scale=1 / 127.5, mean=(1.0,)),
        "keras-caffe": InputSpec(channels="BGR", mean=(103.939, 116.779, 123.68)),
        "unit": InputSpec(scale=1 / 255),
        "raw": InputSpec(),
        "none": InputSpec(pictures=False),
    }
)
"""The descriptions that have a name, the commonest first.

`size` and `resize_size` of a preset are scaled to the model's own size. A preset without
`channels` gives RGB, or grey to a model of one channel.
"""


def presets() -> Mapping[str, InputSpec]:
    """Return the presets of `preprocess` by name, in the order to show them."""
    return PRESETS


def show_shape(shape: tuple[int | str | None, ...]) -> str:
    """Return a shape as messages show it: `[N, 3, 224, ?]`."""
    return f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"


def _numbers(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else str([round(v, 4) for v in values])
