"""timm's `config.json` beside a model, as the Hugging Face hub has it: how it was evaluated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxcam.errors import InputError, UsageError
from onnxcam.inputs.fields import check_fields
from onnxcam.inputs.labels import read_text

_OWN = ("input_size", "mean", "std")  # what says that a file is timm's
_NONE = "give `preprocess=PRESET|FILE.toml` instead"


def read_timm(path: Path) -> dict[str, Any]:
    """Read how timm evaluates a model: its resize, crop and normalisation; and its labels.

    The picture's shorter side becomes floor(size / crop_pct), of which the centre is taken
    (timm/data/transforms_factory.py); with crop_mode "squash" both sides do.

    Args:
        path: The file.

    Returns:
        The checked fields of the description that it amounts to; none where the file is another's
        (it is a common name).

    Raises:
        UsageError: It does something that no `InputSpec` expresses.
    """
    config = _config(path)
    own = config.get("pretrained_cfg")
    own = own if isinstance(own, Mapping) else config  # older files have it all in one
    fields = _labels(config)
    if all(key in own for key in _OWN):
        fields = {**fields, **_recipe(own, path)}
    return check_fields(fields, str(path)) if fields else {}


def timm_labels(path: Path) -> tuple[str, ...] | None:
    """Return the names of the classes alone; None where the file says none."""
    found = _labels(_config(path)).get("labels")
    return None if found is None else tuple(found)


def _config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(read_text(path))
    except (InputError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, Mapping) else {}


def _labels(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of the classes, their descriptions where there are some."""
    names, described = config.get("label_names"), config.get("label_descriptions")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return {}
    if isinstance(described, Mapping):
        names = [str(described.get(name, name)) for name in names]
    return {"labels": names}


def _recipe(own: Mapping[str, Any], path: Path) -> dict[str, Any]:
    try:
        channels, height, width = (int(n) for n in own["input_size"])
        kept = float(own.get("crop_pct") or 0.875)
        mean, std = ([float(v) for v in own[key]] for key in ("mean", "std"))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: {error}", _NONE) from None
    mode = own.get("crop_mode") or "center"
    if mode not in ("center", "squash") or channels not in (1, 3) or not 0 < kept <= 2:
        raise UsageError(
            f"{path}: crop_mode {mode!r} of {channels} channels, crop_pct {kept:g}, has no "
            "counterpart here",
            _NONE,
        )
    if height != width and mode == "center" and kept != 1:
        raise UsageError(f"{path}: a crop of {height} x {width} has no counterpart here", _NONE)
    return {
        "size": [height, width],
        "resize": "shortest" if mode == "center" else "stretch",
        "resize_size": math.floor(min(height, width) / kept),
        "interpolation": str(own.get("interpolation") or "bilinear"),
        "channels": "RGB" if channels == 3 else "GRAY",
        "scale": 1 / 255,
        "mean": mean,
        "std": std,
    }
