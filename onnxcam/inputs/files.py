"""Input descriptions in TOML files and in a model's metadata."""

from __future__ import annotations

import ast
import json
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from onnxcam.errors import InputError, UsageError, shortened
from onnxcam.files import regular, whole
from onnxcam.inputs.fields import check_fields
from onnxcam.inputs.labels import load_labels, names_of, read_text
from onnxcam.inputs.spec import InputSpec

_BOOK = 4_000_000  # characters of Python: reading them takes a hundred times as much memory
_ANCHORS = (".npy", ".json", ".csv", ".txt")
PREFIX = "onnxcam.input."
_RANGES: Mapping[str, tuple[float, float]] = {
    "nominalrange_0_255": (1.0, 0.0),
    "normalized_0_1": (1 / 255, 0.0),
    "normalized_1_1": (1 / 127.5, 1.0),
    "nominalrange_16_235": (219 / 255, -16.0),
}
_FORMATS: Mapping[str, str] = {"gray8": "GRAY", "rgb8": "RGB", "bgr8": "BGR"}


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a description from a TOML file.

    Args:
        path: The file. `labels` in it is a list of names or the name of a file, looked for
            from the TOML file's own folder.

    Returns:
        The checked fields that the file names, `labels` as a tuple of names.

    Raises:
        UsageError: The file cannot be read, is not TOML, or has an unknown or wrong field.
    """
    path = Path(path)
    try:
        said = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is not usable TOML: it is nested too deeply") from error
    except InputError as error:
        raise UsageError(error.message, error.hint) from error
    if isinstance(said.get("labels"), str):
        try:
            said["labels"] = load_labels(_beside(path, said["labels"]))
        except InputError as error:
            raise UsageError(f"{path}: labels: {error.message}", error.hint) from error
    anchors = said["detector"].get("anchors") if isinstance(said.get("detector"), dict) else None
    if isinstance(anchors, str) and Path(anchors).suffix.lower() in _ANCHORS:
        try:
            place = _beside(path, anchors)
            with suppress(OSError):  # that it is missing is said where it is needed
                regular(place)
            said["detector"]["anchors"] = str(place)
        except InputError as error:
            raise UsageError(f"{path}: anchors: {error.message}", error.hint) from error
    return check_fields(said, str(path))


def _beside(path: Path, name: str) -> Path:
    """Return a file that a description names: it lies in the description's folder, or below.

    Raises:
        InputError: It lies elsewhere: a description that comes with a model could name any file.
    """
    folder = path.absolute().parent
    try:
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        raise InputError(
            f"{shortened(name, 80)!r} lies outside the folder of the description",
            "copy the file beside it, or name it in the call",
        )
    return folder / name if path.is_absolute() else path.parent / name


def write_toml(spec: InputSpec, path: str | os.PathLike[str]) -> None:
    """Write a description as a sidecar file, whole or not at all.

    Args:
        spec: What to write; fields that are None are left out.
        path: The file, replaced where it exists.

    Raises:
        UsageError: The file cannot be written.
    """
    path = Path(path)
    lines = [f"{name} = {_toml(value)}\n" for name, value in spec.said().items()]
    try:
        with whole(path) as part:
            part.write_text("".join(lines), encoding="utf-8")
    except (OSError, UnicodeEncodeError) as error:
        raise UsageError(f"{path} cannot be written: {error}") from error


def to_metadata(spec: InputSpec) -> dict[str, str]:
    """Return a description as a model's `metadata_props`; `resolve` reads it back.

    Args:
        spec: What to write; fields that are None are left out.

    Returns:
        `{"onnxcam.input.<field>": JSON}`.
    """
    return {
        f"{PREFIX}{name}": json.dumps(value, ensure_ascii=False)
        for name, value in spec.said().items()
    }


def read_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Read the fields that a model's metadata says under `onnxcam.input.`.

    A value is JSON, or a plain word as in `onnxcam.input.layout = NCHW`.

    Raises:
        UsageError: A field is unknown or wrong.
    """
    said = {
        key.removeprefix(PREFIX): _json_or_word(value)
        for key, value in metadata.items()
        if key.startswith(PREFIX)
    }
    return check_fields(said, f"the model's metadata {PREFIX}*")


def read_image_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Read ONNX's own image metadata (`Image.BitmapPixelFormat` and its fellows).

    The ONNX document "MetadataProps" defines them, without regard to case. They count only
    when pixel format and range are both said and are ones that `InputSpec` can express.

    Returns:
        `channels`, `scale` and `mean`; empty where the metadata does not say enough.
    """
    said = {key.lower(): value.lower() for key, value in metadata.items()}
    channels = _FORMATS.get(said.get("image.bitmappixelformat", ""))
    pixels = _RANGES.get(said.get("image.nominalpixelrange", ""))
    gamma = said.get("image.colorspacegamma", "srgb")
    if channels is None or pixels is None or gamma != "srgb":
        return {}
    return {"channels": channels, "scale": pixels[0], "mean": (pixels[1],)}


def read_names(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the class names that YOLO exports keep in metadata: `names = {0: 'person', ...}`.

    Returns:
        The names; None where there are none in that form, or a book of them.
    """
    said = metadata.get("names", "")
    if len(said) > _BOOK:
        return None
    try:
        return names_of(ast.literal_eval(said), Path("names")) or None
    except (InputError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _json_or_word(value: str) -> object:
    """Return what a metadata value says."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value.strip()


def _toml(value: object) -> str:
    """Return a field's value in TOML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):  # a TOML string is a JSON string, but for what nobody sees
        return "".join(map(_in_toml, json.dumps(value, ensure_ascii=False)))
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def _in_toml(character: str) -> str:
    """Return a character of a string as it is, or escaped where nobody can see it."""
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
