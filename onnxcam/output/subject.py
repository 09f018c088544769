"""What a map is drawn on: the input as a picture, a signal, a volume or a row of a table."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np

from onnxcam.errors import UsageError

Array: TypeAlias = np.ndarray[Any, Any]


class Subject(Protocol):
    """What is known of an explained input; see :class:`~onnxcam.output.explanation.Explanation`."""

    @property
    def map(self) -> Array: ...  # noqa: D102
    @property
    def picture(self) -> Array | None: ...  # noqa: D102
    @property
    def tensor(self) -> Array: ...  # noqa: D102
    @property
    def layout(self) -> str | None: ...  # noqa: D102
    @property
    def unfolded(self) -> tuple[str, tuple[int, ...]] | None: ...  # noqa: D102


def as_picture(of: Subject) -> Array:
    """Return the photograph, or the tensor itself as grey or colour, uint8 [H, W, 3].

    Raises:
        UsageError: The input was no picture.
    """
    if of.picture is not None:
        return of.picture
    layout, shape = of.unfolded or (of.layout or "", of.tensor.shape)
    image = of.tensor.astype(np.float32).reshape(shape)
    if layout == "HW":
        layout, image = "HWC", image[..., None]
    if sorted(layout) != ["C", "H", "W"]:
        raise UsageError("the input is no picture", "save the map as .npz")
    image = np.moveaxis(image, layout.index("C"), -1)
    image = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, -1)
    low, high = float(image.min()), float(image.max())
    return ((image - low) / (high - low or 1) * 255).astype(np.uint8)


def is_row(of: Subject) -> bool:
    """Tell whether the input is a row of a table: numbers without an order in time or space."""
    ordered = of.layout is not None and any(letter in of.layout for letter in "TWHD")
    return of.tensor.ndim == of.map.ndim == 1 and of.map.shape == of.tensor.shape and not ordered


def is_signal(of: Subject) -> bool:
    """Tell whether the input is drawn over time."""
    return of.map.ndim == 1 and not is_row(of)


def as_signal(of: Subject) -> Array:
    """Return the tensor as channels over time, [C, T]."""
    if of.layout is not None and "C" in of.layout:
        return np.moveaxis(of.tensor, of.layout.index("C"), 0)
    return of.tensor.reshape(-1, of.tensor.shape[-1])


def as_volume(of: Subject) -> Array:
    """Return the first channel of the tensor, [D, H, W]."""
    axis = (of.layout or "CDHW").index("C")
    return np.asarray(np.moveaxis(of.tensor, axis, 0)[0])
