"""Ready arrays: read from a file, and held against the model's input."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxcam.errors import InputError
from onnxcam.inputs.spec import Array, InputSpec, ModelInput, show_shape

# What np.load raises on damaged files.
_DAMAGE = (
    *(OSError, ValueError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def load_array(path: Path, name: str) -> Array:
    """Read an array from a file; see :func:`load_arrays`."""
    return load_arrays(path, name)[0]


def load_said(file: str, what: str) -> Array:
    """Read the array that a method's parameter names, as :func:`load_array` does.

    Args:
        file: Its name.
        what: What it is, for messages.

    Raises:
        InputError: As of :func:`load_array`.
    """
    try:
        return load_array(Path(file), what)
    except InputError as error:
        raise InputError(f"the {what} cannot be read: {error.message}", error.hint) from error


def load_arrays(
    path: Path, name: str, fits: Callable[[tuple[int, ...]], object] | None = None
) -> tuple[Array, dict[str, Array]]:
    """Read an array from a file, and the others that lie in it.

    The header is read before the data, which may be a bomb.

    Args:
        path: A `.npy` file, or a `.npz` file with one array or with one called `name`.
        name: The input's name.
        fits: Raises what is wrong with a shape; None for nothing.

    Returns:
        The array; by name the other arrays of a file that has one called `name`.

    Raises:
        InputError: The file is missing, empty or damaged, leaves the choice open, or holds an
            array of another shape.
    """
    from onnxcam.inputs.picture import check_file  # Pillow is imported where a file is read

    check_file(path)
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                _seen(file, fits)
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, {}
        with loaded as archive:
            key = name if name in archive.files else None
            if key is None and len(archive.files) == 1:
                key = archive.files[0]
            if key is not None:
                with loaded.zip.open(_member(loaded.zip, key)) as part:
                    _seen(part, fits)
                named = archive.files if key == name else [key]
                others = {k: np.asarray(archive[k]) for k in named if k != key}
                return np.asarray(archive[key]), others
            held = ", ".join(archive.files) or "none"
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path} is not a readable array: {reason}", "Save plain numbers with np.save"
        ) from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory", "Give a smaller array") from error
    raise InputError(
        f"{path} holds no array called {name!r} (it holds: {held})",
        f"Save it with np.savez(file, **{{{name!r}: array}})",
    )


def ready(array: Array, source: str, spec: InputSpec, model_input: ModelInput) -> Array:
    """Check an array against the input, add a missing batch axis, and cast it.

    Args:
        array: The values as the model takes them.
        source: Where it comes from, for messages.
        spec: Its layout says where the batch axis is; else the model's; else it is the first.
        model_input: The input.

    Returns:
        The tensor, contiguous, of the input's type. Only the precision of floats is cast, and
        integers that stay what they are: other kinds of numbers mean another recipe.

    Raises:
        InputError: Shape or kind of numbers do not fit, or a value is NaN or infinite.
    """
    array = array.reshape(fitting(array.shape, source, spec, model_input))
    tensor = _cast(array, source, model_input)
    if not np.issubdtype(tensor.dtype, np.integer) and tensor.dtype.kind != "b":
        _check_finite(tensor, source)
    return np.ascontiguousarray(tensor)


def _seen(file: IO[bytes], fits: Callable[[tuple[int, ...]], object] | None) -> None:
    """Read the header of an array, and hold its shape against what is wanted."""
    shape = _shape(file)
    if fits is not None:
        fits(shape)


def _shape(file: IO[bytes]) -> tuple[int, ...]:
    """Return the shape that the header of a .npy file says."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python's objects")
    return tuple(shape)


def _member(archive: zipfile.ZipFile, key: str) -> str:
    """Return the name of the file in an archive that holds an array."""
    return key if key in archive.namelist() else f"{key}.npy"


def fitting(
    shape: tuple[int, ...], source: str, spec: InputSpec, model_input: ModelInput
) -> tuple[int, ...]:
    """Return a shape with the batch axis that it may lack.

    Raises:
        InputError: It is none that the input takes.
    """
    wanted, layout = model_input.shape, spec.layout or model_input.layout or "N"
    batch = layout.find("N")
    full = shape
    if len(shape) == len(wanted) - 1 and batch >= 0:
        full = (*shape[:batch], 1, *shape[batch:])
    # A batch that is fixed is filled when it is run, or what does not fit comes in several runs.
    free = batch if spec.layout or model_input.layout else -1
    if 0 in shape or not _fits(full, wanted, free):
        raise InputError(
            f"{source} has shape {list(full)}, but input {model_input} takes {show_shape(wanted)}",
            "A ready tensor has the input's shape; a picture is an image file or uint8 [H, W, 3]",
        )
    return full


def _fits(shape: tuple[int, ...], declared: tuple[int | str | None, ...], batch: int) -> bool:
    """Whether a shape is one that the model declares, up to the size of a batch above one."""
    return len(shape) == len(declared) and all(
        not isinstance(dim, int) or dim == length or (axis == batch and dim > 1)
        for axis, (length, dim) in enumerate(zip(shape, declared, strict=True))
    )


def _cast(array: Array, source: str, model_input: ModelInput) -> Array:
    """Cast within one kind of numbers, where no whole number changes."""
    dtype = model_input.dtype
    if array.dtype == dtype:
        return array
    if _kind(array.dtype) != _kind(dtype):
        raise InputError(
            f"{source} holds {array.dtype.name}, but input {model_input} takes {dtype.name}",
            f'If the values are right as they are, save array.astype("{dtype.name}")',
        )
    with np.errstate(over="ignore"):
        tensor = array.astype(dtype)
    if _kind(dtype) == "integer" and not np.array_equal(tensor, array):
        raise InputError(
            f"{source} holds numbers from {array.min()} to {array.max()}, which {dtype.name} "
            "cannot hold",
            f"Save it as {dtype.name}",
        )
    return tensor


def _kind(dtype: np.dtype[Any]) -> str:
    """Return the kind of numbers; bfloat16 and its like are no NumPy types of their own kind."""
    if np.issubdtype(dtype, np.floating) or "float" in dtype.name:
        return "float"
    return "integer" if np.issubdtype(dtype, np.integer) else dtype.kind


def _check_finite(tensor: Array, source: str) -> None:
    """Refuse NaN and infinity, which would make every map empty."""
    bad = ~np.isfinite(tensor)
    if bad.any():
        first = np.unravel_index(int(np.argmax(bad)), tensor.shape)
        raise InputError(
            f"{source} holds {int(bad.sum())} value(s) that are NaN or infinite in "
            f"{tensor.dtype.name}, the first at {[int(index) for index in first]}",
            "Give finite numbers",
        )
