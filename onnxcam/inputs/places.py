"""The places that can describe a model's input, and which of them wins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from onnxcam.inputs.fields import unknown
from onnxcam.inputs.files import read_image_metadata, read_metadata, read_names, read_toml
from onnxcam.inputs.huggingface import read_id2label, read_preprocessor
from onnxcam.inputs.spec import PRESETS, InputSpec
from onnxcam.inputs.timm import read_timm, timm_labels

# These fields say together how pixels become numbers, so they come from one place.
RULE = frozenset(
    {"resize", "resize_size", "interpolation", "channels", "scale", "mean", "std", "pictures"}
)


@dataclass(frozen=True)
class Said:
    """The fields that one place says."""

    where: str
    fields: Mapping[str, Any]

    @property
    def is_rule(self) -> bool:
        """Whether it says how pixels become numbers."""
        return not RULE.isdisjoint(self.fields)


def gather(
    model_path: Path | None,
    metadata: Mapping[str, str],
    option: str | PathLike[str] | InputSpec | None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Collect what is said of a model's input.

    Args:
        model_path: The model's file; None for one in memory.
        metadata: The model's `metadata_props`.
        option: A preset's name, a TOML file, a description, or None.

    Returns:
        The fields that win, and for each of them where it was said.

    Raises:
        UsageError: A description is wrong in itself, or the option names nothing.
        InputError: The `id2label` in `config.json` is broken.
    """
    said = list(_places(model_path, metadata, option))
    if not any(place.is_rule for place in said):
        said += _hugging_face(model_path)
    if not any("labels" in place.fields for place in said):
        said += _more_labels(model_path, metadata)
    return _merge(said)


def _places(
    model_path: Path | None,
    metadata: Mapping[str, str],
    option: str | PathLike[str] | InputSpec | None,
) -> Iterator[Said]:
    """Yield what the option, the sidecar and the metadata say."""
    if isinstance(option, InputSpec):
        yield Said("the given InputSpec", option.said())
    elif option is not None and str(option) in PRESETS:
        preset = PRESETS[str(option)].said()
        rule = {name: value for name, value in preset.items() if name in RULE}
        yield Said(f"preset {option}", rule)
    elif option is not None:
        yield Said(str(option), read_toml(_toml_path(option)))
    if model_path is not None and _there(sidecar := model_path.with_suffix(".toml")):
        yield Said(sidecar.name, read_toml(sidecar))
    yield Said("metadata onnxcam.input.*", read_metadata(metadata))
    yield Said("metadata Image.*", read_image_metadata(metadata))


def _toml_path(option: str | PathLike[str]) -> Path:
    """Return the file that an option names, which is no preset."""
    path = Path(option)
    if path.suffix.lower() != ".toml" and not path.is_file():
        raise unknown("`preprocess`: no preset and no TOML file is called", str(option), PRESETS)
    return path


def _there(path: Path) -> bool:
    """Tell whether a file is there, be it only a link to one that is not: that is no silence."""
    return path.is_file() or path.is_symlink()


def _hugging_face(model_path: Path | None) -> list[Said]:
    """Return what the nearest `preprocessor_config.json` says, or timm's `config.json`."""
    for folder in _folders(model_path):
        if _there(path := folder / "preprocessor_config.json"):
            return [Said(path.name, read_preprocessor(path))]
        if (path := folder / "config.json").is_file() and (fields := read_timm(path)):
            return [Said(f"{path.name} (timm)", fields)]
    return []


def _more_labels(model_path: Path | None, metadata: Mapping[str, str]) -> list[Said]:
    """Return labels from places that say nothing else."""
    said = [("metadata names", read_names(metadata))]
    for folder in _folders(model_path):
        if (path := folder / "config.json").is_file():
            said.append((path.name, read_id2label(path) or timm_labels(path)))
    return [Said(where, {"labels": labels}) for where, labels in said if labels]


def _folders(model_path: Path | None) -> list[Path]:
    """Return the model's folder, and the one above where the hub's layout has an `onnx` folder."""
    if model_path is None:
        return []
    folder = model_path.absolute().parent
    return [folder, folder.parent] if folder.name == "onnx" else [folder]


def _merge(said: list[Said]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the fields that win, and where each was said."""
    rule = next((place for place in said if place.is_rule), None)
    fields: dict[str, Any] = {}
    source: dict[str, str] = {}
    for place in said:
        for name, value in place.fields.items():
            if name not in fields and (name not in RULE or place is rule):
                fields[name] = value
                source[name] = place.where
    return fields, source
