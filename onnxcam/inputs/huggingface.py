"""Hugging Face's `preprocessor_config.json` and `config.json` beside a model.

The steps of the processors listed here come out the same, with one deviation: where a centre
crop leaves an odd number of pixels over, the PIL processors round down and torchvision, which
the newer ones and `prepare` follow, rounds half to even: one pixel of the resized picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxcam.errors import InputError, UsageError
from onnxcam.inputs.fields import check_fields
from onnxcam.inputs.labels import names_of, parse_json, read_text

# Image processors whose steps are known: what a plain number in `size` means to each, and
# whether it crops when the file does not say.
_KINDS: Mapping[str, tuple[str, bool]] = {
    "ViT": ("stretch", False),
    "DeiT": ("stretch", True),
    "Beit": ("stretch", True),
    "Segformer": ("stretch", False),
    "Siglip": ("stretch", False),
    "Blip": ("stretch", False),
    "Pvt": ("stretch", False),
    "ConvNext": ("shortest", False),
    "CLIP": ("shortest", True),
    "Bit": ("shortest", True),
    "MobileNetV1": ("shortest", True),
    "MobileNetV2": ("shortest", True),
    "MobileViT": ("shortest", True),
    "PoolFormer": ("shortest", True),
    "Levit": ("shortest", True),
}
_SUFFIXES = ("Fast", "Pil", "ImageProcessor", "FeatureExtractor")
_RESAMPLE: Mapping[int, str] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_INEXPRESSIBLE = (
    *("do_pad", "do_thumbnail", "do_align_long_axis", "do_color_quantize", "do_grayscale"),
    *("keep_aspect_ratio", "rescale_offset", "include_top", "do_image_splitting"),
)


def read_preprocessor(path: Path) -> dict[str, Any]:
    """Read an image processor's steps from `preprocessor_config.json`.

    Args:
        path: The file.

    Returns:
        The checked fields of the description that it amounts to.

    Raises:
        UsageError: The file cannot be read, or does something that no `InputSpec` expresses,
            or leaves out what its processor would take from elsewhere.
    """
    try:
        config = parse_json(read_text(path), path)
    except InputError as error:
        raise UsageError(error.message, error.hint) from error
    if not isinstance(config, dict):
        raise _refusal(path, "it holds no object")
    kind = _kind(config, path)
    for key in _INEXPRESSIBLE:
        if config.get(key):
            raise _refusal(path, f"{key} = {config[key]!r} has no counterpart here")
    fields = {**_geometry(config, kind, path), **_values(config, kind, path)}
    return check_fields(
        {key: value for key, value in fields.items() if value is not None}, str(path)
    )


def read_id2label(path: Path) -> tuple[str, ...] | None:
    """Return the class names in a `config.json`.

    Returns:
        The names; None where the file is not one of Hugging Face's (it is a common name).

    Raises:
        InputError: `id2label` is there but names no class, or leaves one out.
    """
    try:
        config = json.loads(read_text(path))
    except (InputError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict) or not isinstance(config.get("id2label"), dict):
        return None
    return names_of(config["id2label"], path) or None


def _kind(config: Mapping[str, Any], path: Path) -> str | None:
    """Return the processor's bare name ("ViT"), None where the file names none."""
    said = config.get("image_processor_type") or config.get("feature_extractor_type")
    if said is None:
        return None
    name = str(said)
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    if name not in _KINDS:
        raise _refusal(path, f"the steps of {said!r} are not known here")
    return name


def _geometry(config: Mapping[str, Any], kind: str | None, path: Path) -> dict[str, Any]:
    """Return `resize`, `resize_size`, `size` and `interpolation`."""
    crop = _crop(config, kind, path)
    if not config.get("do_resize", "size" in config):
        return {"resize": "none", "size": crop}
    resample = config.get("resample")
    if not isinstance(resample, int) or resample not in _RESAMPLE:
        raise _refusal(path, f"resample = {resample!r} is no filter known here")
    rule, pixels = _size(config, kind, path)
    if rule == "stretch" and config.get("crop_pct") is not None:
        raise _refusal(path, "crop_pct with a size of height and width is not known here")
    if rule == "stretch" and crop in (None, pixels):
        sizes: dict[str, Any] = {"resize": rule, "size": pixels}
    elif rule == "stretch" and pixels[0] == pixels[1]:
        sizes = {"resize": rule, "resize_size": pixels[0], "size": crop}
    elif rule == "stretch":
        raise _refusal(path, f"size = {config['size']} with a crop to {crop} is not known here")
    else:
        sizes = _shortest(config, kind, pixels[0], crop, path)
    return {**sizes, "interpolation": _RESAMPLE[resample]}


def _shortest(
    config: Mapping[str, Any], kind: str | None, edge: int, crop: object, path: Path
) -> dict[str, Any]:
    """Return the sizes for `{"shortest_edge": edge}`, which some processors enlarge first."""
    ratio = config.get("crop_pct")
    if not isinstance(ratio, int | float | None) or ratio == 0:
        raise _refusal(path, f"crop_pct = {ratio!r} is not known here")
    if kind == "ConvNext":
        if edge >= 384:
            return {"resize": "stretch", "size": (edge, edge)}
        enlarged = int(edge / (ratio or 224 / 256))
        return {"resize": "shortest", "resize_size": enlarged, "size": (edge, edge)}
    if kind == "PoolFormer":
        edge = int(edge / (ratio or 0.9))
    elif kind == "Levit":
        edge = int(256 / 224 * edge)
    elif ratio is not None:
        raise _refusal(path, f"crop_pct = {ratio!r} is not known for {kind or 'an unnamed type'}")
    return {"resize": "shortest", "resize_size": edge, "size": crop}


def _size(config: Mapping[str, Any], kind: str | None, path: Path) -> tuple[str, tuple[int, int]]:
    """Return the rule that `size` stands for, and its height and width."""
    match config.get("size"):
        case int(edge) if kind is not None:
            return _KINDS[kind][0], (edge, edge)
        case {"height": int(height), "width": int(width)}:
            return "stretch", (height, width)
        case {"shortest_edge": int(edge), **others} if not others:
            return "shortest", (edge, edge)
        case size:
            raise _refusal(path, f"size = {size!r} is not known here")


def _crop(config: Mapping[str, Any], kind: str | None, path: Path) -> tuple[int, int] | None:
    """Return the height and width of the centre crop, None for no crop."""
    size = config.get("crop_size")
    crops = config.get("do_center_crop")
    if crops is None and kind is None and size is not None:
        raise _refusal(path, "crop_size is said, but not whether to crop")
    if not (crops if crops is not None else kind is not None and _KINDS[kind][1]):
        return None
    match size:
        case int(edge):
            return edge, edge
        case {"height": int(height), "width": int(width)}:
            return height, width
        case _:
            raise _refusal(path, f"crop_size = {size!r} is not known here")


def _values(config: Mapping[str, Any], kind: str | None, path: Path) -> dict[str, Any]:
    """Return `scale`, `mean`, `std` and `channels`."""
    values: dict[str, Any] = {"scale": 1.0}
    if config.get("do_rescale", True):
        values["scale"] = config.get("rescale_factor", 1 / 255)
    if config.get("do_flip_channel_order", kind == "MobileViT"):
        values["channels"] = "BGR"
    if config.get("do_normalize", kind != "MobileViT"):
        values |= {"mean": config.get("image_mean"), "std": config.get("image_std")}
        if None in values.values():
            raise _refusal(path, "it normalises, but image_mean and image_std are not both said")
    return values


def _refusal(path: Path, reason: str) -> UsageError:
    """Return the error for a file whose steps cannot be taken over exactly."""
    return UsageError(
        f"{path} cannot be used: {reason}",
        "Describe the input in a TOML file beside the model, or pass "
        "`preprocess=PRESET|FILE.toml` (none: only ready arrays)",
    )
