"""One picture or ready array -> the model's input tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxcam.errors import InputError, UsageError
from onnxcam.inputs.arrays import fitting, load_arrays, ready
from onnxcam.inputs.geometry import Box, covered, crop, resized
from onnxcam.inputs.spec import Array, InputSpec, ModelInput

if TYPE_CHECKING:
    from PIL import Image

Input: TypeAlias = "str | PathLike[str] | Image.Image | Array"
_MOST_PIXELS = 2**27  # of a resized picture: a strip of 1 x 50000 grows to 256 x 12800000


@dataclass(frozen=True)
class Prepared:
    """An input tensor and where it comes from.

    Attributes:
        tensor: The model's layout and dtype. From a picture the batch is 1; a ready array keeps
            the batch that it has, and gets one of 1 where it has none.
        picture: The photograph as it was before resizing, upright: uint8 [H, W, 3]; None for
            a ready array.
        box: x0, y0, x1, y1 in pixels of `picture`: the part that the tensor shows. It reaches
            beyond the picture where the tensor was filled up with black. None with `picture`.
        source: The file's name as it was given, or "array".
        others: Arrays for other inputs of the model, by name, which came with it.
        spec: How the picture became the tensor; None for a ready array.
        recipe: How the picture became the tensor, in words; "" for a ready array.
    """

    tensor: Array
    picture: Array | None
    box: Box | None
    source: str
    others: Mapping[str, Array] = field(default_factory=dict)
    spec: InputSpec | None = None
    recipe: str = ""


def prepare(x: Input, spec: InputSpec, model_input: ModelInput) -> Prepared:
    """Turn a picture or a ready array into the model's input.

    Args:
        x: A picture: an image file, a Pillow image, or an array uint8 [H, W], [H, W, 1],
            [H, W, 3] or [H, W, 4]. Or a ready tensor: a `.npy` file, a `.npz` file (its only
            array, or the one named like the input), or any other array; it must fit the
            input's shape and kind of numbers, but may lack the batch axis.
        spec: The description, from `resolve`.
        model_input: The input as the model declares it.

    Returns:
        The tensor; with picture and box where it comes from a picture.

    Raises:
        InputError: The file or array cannot be read, does not fit or is not finite.
        UsageError: `x` is of another type, or is a picture where the description takes none.
    """
    x = as_given(x)
    if isinstance(x, np.ndarray) and not (spec.pictures and is_picture(x, model_input)):
        return Prepared(ready(x, "the array", spec, model_input), None, None, "array")
    # Pillow is imported where there is something to read: imports are half of a start.
    from PIL import Image

    from onnxcam.inputs.picture import array_picture, check_file, open_picture, to_rgb

    if isinstance(x, np.ndarray):
        return _from_picture(array_picture(x), "array", spec, model_input)
    if isinstance(x, Image.Image):
        return _from_picture(to_rgb(x, "the image"), "array", spec, model_input)
    if not isinstance(x, str | PathLike):
        raise UsageError(
            f"an input of type {type(x).__name__} is neither file, image nor NumPy array",
            "Give a path, a PIL image, or np.asarray(...) of it",
        )
    path = Path(x)
    if _holds_array(path):
        fits = partial(fitting, source=str(path), spec=spec, model_input=model_input)
        array, others = load_arrays(path, model_input.name, fits)
        tensor = ready(array, str(path), spec, model_input)
        return Prepared(tensor, None, None, str(path), others)
    if takes_files(model_input):
        check_file(path)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        return Prepared(ready(data, str(path), spec, model_input), None, None, str(path))
    if not spec.pictures:
        check_file(path)
        raise _takes_no_picture(str(path), model_input)
    return _from_picture(open_picture(path), str(path), spec, model_input)


def as_given(x: Any) -> Any:
    """Return an input as NumPy has it where it is an array of another library; else as it is.

    Tensors of PyTorch, TensorFlow, JAX and CuPy come by DLPack or ``__array__``, copied to the
    processor's memory and without their gradient; bytes are the content of a picture's file.

    Raises:
        InputError: It says that it is an array, and cannot be had as one.
    """
    if isinstance(x, bytes | bytearray | memoryview):
        from onnxcam.inputs.picture import picture_in

        return picture_in(bytes(x), "the bytes")
    if isinstance(x, np.ndarray | str | PathLike) or type(x).__module__.startswith("PIL."):
        return x
    for step in ("detach", "cpu"):  # PyTorch's: else it refuses
        x = getattr(x, step)() if callable(getattr(x, step, None)) else x
    ways = [
        way
        for name, way in (("__array__", np.asarray), ("__dlpack__", np.from_dlpack))
        if hasattr(x, name)
    ]
    problem: Exception | None = None
    for way in ways:
        try:
            return way(x)
        except Exception as error:  # noqa: BLE001 - other libraries raise what they like
            problem = error
    if problem is not None:
        raise InputError(
            f"{type(x).__name__} cannot be had as an array: {problem}", "give it as a NumPy array"
        ) from problem
    return x


def is_picture(x: object, model_input: ModelInput) -> bool:
    """Tell whether an input is a picture rather than a ready tensor, which needs no description.

    An array is one that is uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] and cannot be the
    model's tensor as it is; a file by its ending.
    """
    if isinstance(x, np.ndarray):
        channels = x.shape[2] if x.ndim == 3 else 1
        ready = model_input.dtype == np.uint8 and x.ndim == len(model_input.shape)
        return x.dtype == np.uint8 and x.ndim in (2, 3) and channels in (1, 3, 4) and not ready
    if not isinstance(x, str | PathLike):
        return x is not None
    return not (_holds_array(Path(x)) or takes_files(model_input))


def takes_files(model_input: ModelInput) -> bool:
    """Tell whether an input takes the bytes of a file, which operators of the model decode."""
    shape = model_input.shape
    return model_input.dtype == np.uint8 and len(shape) == 1 and not isinstance(shape[0], int)


def _holds_array(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".npz")


def _takes_no_picture(source: str, model_input: ModelInput) -> UsageError:
    """Return the error for a picture where only ready arrays are taken."""
    return UsageError(
        f"{source} is a picture, but input {model_input} takes ready arrays only",
        "Give a .npy file, or say how a picture becomes this input: `preprocess=PRESET|FILE.toml`",
    )


def _from_picture(
    picture: Image.Image, source: str, spec: InputSpec, model_input: ModelInput
) -> Prepared:
    """Resize, crop, scale and lay out a picture in mode RGB."""
    if not spec.pictures:
        raise _takes_no_picture(source, model_input)
    if spec.layout is None or spec.channels is None:
        raise UsageError(
            f"the description of input {model_input} has no layout or channels yet",
            "Pass it through resolve() first",
        )
    image_size = resized(picture.size, spec)
    crop_box = crop(image_size, spec)
    if image_size != picture.size and image_size[0] * image_size[1] > _MOST_PIXELS:
        raise InputError(
            f"{source} would be resized from {picture.width} x {picture.height} to "
            f"{image_size[0]} x {image_size[1]} pixels",
            "Crop the picture to a usual shape first",
        )
    from PIL.Image import Resampling

    image = picture.convert("L") if spec.channels == "GRAY" else picture
    image = image.resize(image_size, Resampling[spec.interpolation.upper()]).crop(crop_box)
    tensor = _lay_out(_values(np.atleast_3d(np.asarray(image)), spec), spec.layout)
    if model_input.unfolded is not None:
        tensor = tensor.reshape(1, -1)
    tensor = ready(_cast_picture(tensor, source, model_input), source, spec, model_input)
    box = covered(picture.size, image_size, crop_box)
    return Prepared(tensor, np.array(picture), box, source, recipe=spec.described, spec=spec)


def _values(pixels: Array, spec: InputSpec) -> Array:
    """Return the numbers of pixels uint8 [H, W, C]: float64 [H, W, C] in the model's order."""
    if spec.channels == "BGR":
        pixels = pixels[:, :, ::-1]
    values: Array = (pixels * spec.scale - np.asarray(spec.mean)) / np.asarray(spec.std)
    return values


def _lay_out(values: Array, layout: str) -> Array:
    """Return [H, W, C] in another layout, with a batch of 1 where it has an N."""
    axes = "HWC"
    if "C" not in layout:
        values, axes = values[:, :, 0], "HW"
    tensor = values.transpose([axes.index(axis) for axis in layout if axis != "N"])
    return np.expand_dims(tensor, layout.index("N")) if "N" in layout else tensor


def _cast_picture(tensor: Array, source: str, model_input: ModelInput) -> Array:
    """Cast a picture's numbers to the model's type; whole numbers must stay what they are."""
    dtype = model_input.dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if tensor.min() < limits.min or tensor.max() > limits.max:
            raise InputError(
                f"{source} gives numbers from {tensor.min():g} to {tensor.max():g}, which input "
                f"{model_input} cannot hold",
                "Correct mean in the description of the input",
            )
    with np.errstate(over="ignore"):  # ready() refuses what became infinite
        return tensor.astype(dtype)
