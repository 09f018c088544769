"""Find the description of a model's input, and fill it in from the input itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from onnxcam.errors import NoDescriptionError, UsageError
from onnxcam.inputs.fields import CHANNELS
from onnxcam.inputs.places import RULE, gather
from onnxcam.inputs.plausible import Recipe, fault
from onnxcam.inputs.spec import PRESETS, InputSpec, ModelInput, show_shape


def resolve(
    model_input: ModelInput,
    *,
    model_path: Path | None,
    metadata: Mapping[str, str],
    option: str | PathLike[str] | InputSpec | None,
) -> InputSpec:
    """Find how a model wants its input, and check that against the input it declares.

    The places, first to last: `option`; the sidecar (`model.onnx` -> `model.toml`); the metadata
    (`onnxcam.input.<field>`, ONNX's own `Image.*`); `preprocessor_config.json` beside the model.
    How pixels become numbers comes as a whole from the first that says anything of it: halves of
    two recipes make a third. `layout`, `size`, `dtype` and `labels` come each from the first that
    says it (labels also from `names` and `config.json`), then from the input's shape and type.

    Args:
        model_input: The input as the model declares it.
        model_path: The model's file; None for one in memory.
        metadata: The model's `metadata_props`.
        option: A preset's name, a TOML file, a description, or None.

    Returns:
        The description, filled in (`size` stays None where height and width are free); with
        `pictures = False` for an input that is no picture.

    Raises:
        NoDescriptionError: Nothing says how.
        UsageError: A description is wrong, cannot be followed, or contradicts the model.
        InputError: The `id2label` in `config.json` is broken.
    """
    fields, source = gather(model_path, metadata, option)
    preset = None if isinstance(option, InputSpec) else PRESETS.get(str(option))
    rule_place = next((source[name] for name in fields if name in RULE), "")
    completion = _Completion(model_input, fields, source, preset, rule_place)
    layout = completion.layout()
    if RULE.isdisjoint(fields):
        completion.without_rule(layout, model_path)
    elif fields.get("pictures", True):
        completion.picture(layout)
        completion.plausible()
    completion.types()
    return InputSpec(**fields, source={**dict.fromkeys(sorted(RULE), "default"), **source})


@dataclass
class _Completion:
    """Fills `fields` and `source` (in place) from the model's own input, or raises."""

    model_input: ModelInput
    fields: dict[str, Any]
    source: dict[str, str]
    preset: InputSpec | None
    rule_place: str

    def layout(self) -> str | None:
        """Return the layout, said or seen in the shape of a picture with 1 or 3 channels."""
        shape = self.model_input.pictured
        layout = self.fields.get("layout")
        if self.model_input.unfolded is not None and {"H", "W"} <= set(layout or "HW"):
            layout = self.fields["layout"] = self.model_input.unfolded[0]
            self.source.setdefault("layout", "the model")
        if layout is not None and len(layout) != len(shape):
            raise self._contradiction(
                "layout",
                f"says layout {layout} ({len(layout)} axes), but input {self.model_input} "
                f"has {len(shape)}",
            )
        if layout is None and self.model_input.layout is not None:
            layout = self._set("layout", self.model_input.layout, "the model")
        if layout is None and len(shape) == 4:
            fits = [name for name, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] in (1, 3)]
            if len(fits) == 1:
                layout = self._set("layout", fits[0], f"the shape {show_shape(shape)}")
        return layout

    def without_rule(self, layout: str | None, model_path: Path | None) -> None:
        """Take ready arrays only, where the input cannot be a picture; else nothing is known."""
        rank = len(self.model_input.shape)
        if (layout is None and rank == 4) or (layout and self._is_picture(layout)):
            beside = "" if model_path is None else f", no {model_path.with_suffix('.toml').name}"
            raise NoDescriptionError(
                f"Nothing says how a picture becomes input {self.model_input}: no `preprocess`"
                f"{beside}, no onnxcam.input.* metadata, no preprocessor_config.json",
                "See `onnxcam.look.presets.try_presets(model, picture)`, then pass "
                f"`preprocess={'|'.join(PRESETS)}` "
                "or a TOML file (none: only ready .npy arrays)",
                self.fields.get("labels"),
            )
        self._set("pictures", False, "an input that is no picture")

    def picture(self, layout: str | None) -> None:
        """Fill in channels and size of a picture."""
        if layout is None or not self._is_picture(layout):
            what = f"layout {layout}" if layout else "a layout that nothing says"
            raise self._contradiction(
                "pictures",
                f"describes pictures, but input {self.model_input} has {what}",
                'Say layout = "NCHW" or "NHWC" in a TOML file, or pass `preprocess=none` '
                "and a ready .npy array",
            )
        dims = dict(zip(layout, self.model_input.pictured, strict=True))
        self._channels(dims)
        self._size(dims.get("H"), dims.get("W"))

    def plausible(self) -> None:
        """Refuse what makes no input that a network was trained with."""
        said = {"scale": 1.0, "mean": (0.0,), "std": (1.0,), **self.fields}
        wrong = fault(Recipe(said["scale"], said["mean"], said["std"]))
        if wrong is not None:
            raise self._contradiction(wrong.field, wrong.text, wrong.hint)

    def types(self) -> None:
        """Fill in the element type; a description cannot ask for fractions of an integer type."""
        model_dtype = self.model_input.dtype.name
        if self.fields.get("dtype", model_dtype) != model_dtype:
            raise self._contradiction(
                "dtype", f"says {self.fields['dtype']}, but input {self.model_input} is not"
            )
        self._set("dtype", model_dtype, "the model")
        mean, std = self.fields.get("mean", (0.0,)), self.fields.get("std", (1.0,))
        whole = self.fields.get("scale", 1.0) == 1 and set(std) == {1.0}
        if self.model_input.dtype.kind in "iub" and not (whole and all(m == int(m) for m in mean)):
            raise self._contradiction(
                "scale",
                f"gives fractions, but input {self.model_input} takes whole numbers",
                "Such models normalise inside: try `preprocess=raw`",
            )

    def _is_picture(self, layout: str) -> bool:
        """Whether a layout is one of a picture, with 1, 3 or an unknown number of channels."""
        channels = dict(zip(layout, self.model_input.pictured, strict=True)).get("C")
        pictured = {"H", "W"} <= set(layout) <= {"N", "C", "H", "W"}
        return pictured and (not isinstance(channels, int) or channels in (1, 3))

    def _channels(self, dims: Mapping[str, int | str | None]) -> None:
        """Fill in `channels`, and hold it, mean and std against the model's number of them."""
        declared = dims.get("C", 1)
        count = declared if isinstance(declared, int) else None
        said = self.fields.get("channels")
        if said is not None and count not in (None, CHANNELS[said]):
            raise self._contradiction(
                "channels",
                f"says {said}, but input {self.model_input} has {count} channel(s)",
                "Describe this model's input in a TOML file, or choose another preset",
            )
        default = "GRAY" if count == 1 else "RGB"
        count = CHANNELS[self._set("channels", default, "the model's channels")]
        for name in ("mean", "std"):
            if len(self.fields.get(name, (0.0,))) not in (1, count):
                raise self._contradiction(
                    name,
                    f"gives {len(self.fields[name])} numbers for {name}, but the tensor has "
                    f"{count} channel(s)",
                )

    def _size(self, height: int | str | None, width: int | str | None) -> None:
        """Fill in `size`, and hold it against the model's."""
        own = tuple(dim if isinstance(dim, int) else None for dim in (height, width))
        if None not in own:
            self._set("size", own, "the model")
        elif own == (None, None) and self.preset is not None and self.preset.size is not None:
            self._set("size", self.preset.size, self.source["resize"])
        size = self.fields.get("size")
        if size is None:
            self._free_size(own)
            return
        if any(dim not in (None, said) for dim, said in zip(own, size, strict=True)):
            raise self._contradiction(
                "size",
                f"says size {list(size)}, but input {self.model_input} has {show_shape(own)}",
            )
        if self.preset is not None and self.preset.size and self.preset.resize_size:
            ratio = self.preset.resize_size / min(self.preset.size)
            self.fields["resize_size"] = round(min(size) * ratio)

    def _free_size(self, own: tuple[int | None, ...]) -> None:
        """Settle a picture without a size: only inputs free in both directions take any."""
        if own != (None, None):
            raise self._contradiction(
                "resize",
                f"says no size, and input {self.model_input} fixes only one side",
                "Say size = [height, width] in a TOML file",
            )
        if self.fields.get("resize", "stretch") == "stretch" and "resize_size" not in self.fields:
            self.fields["resize"] = "none"
            self.source["resize"] = "no size is said or fixed: pictures as they are"

    def _set(self, name: str, value: Any, where: str) -> Any:
        """Set a field that nothing said, and return what the field now is."""
        if name not in self.fields:
            self.fields[name] = value
            self.source[name] = where
        return self.fields[name]

    def _contradiction(self, name: str, what: str, hint: str = "") -> UsageError:
        """Return the error for what the place that said a field says."""
        where = self.source[name] if name in self.fields else self.rule_place
        return UsageError(f"{where} {what}", hint or "Correct it, or pass another `preprocess`")
