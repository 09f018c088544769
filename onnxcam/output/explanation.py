"""What an explainer returns: the map and everything needed to read it. Nothing is normalised."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, Unpack, cast

import numpy as np

from onnxcam.errors import UsageError, json_text, plain
from onnxcam.files import write_whole
from onnxcam.output import records, render, subject
from onnxcam.output.detection import Detected
from onnxcam.output.shown import Shown

Array: TypeAlias = np.ndarray[Any, Any]
CLIP = 99.0  # percentile at which the colours of noisy maps end


@dataclass(frozen=True)
class Explanation(Shown):
    """Why a model gave a score to an input.

    Attributes:
        map: float32, the method's map at the input's size; not normalised.
        raw_map: float32, the same at the feature layer's size.
        signed_map: float32, ``raw_map`` before its negative part was cut off.
        scores: The reduction layer's values, float [C].
        target: Index of the class that is explained; -1 where that is no class.
        label: Its name, None where the model has no labels.
        probability: Of the target, None where the scores are no logits of classes.
        feature_layer: Name of the tensor that the map is made of.
        reduction_layer: Name of the tensor that holds the score.
        method: Name of the method.
        parameters: Its parameters.
        gradient: "exact", or "straight-through (...)" with the operators whose rounding it ignores.
        diagnosis: What went wrong or looks wrong, in words; empty when nothing did.
        source: File name of the input, or "array".
        picture: uint8 [H, W, 3], the photograph; None for arrays.
        box: x0, y0, x1, y1: the part of ``picture`` that the model saw, in its pixels.
        tensor: The input tensor, without the batch axis.
        layout: The meaning of the axes of ``tensor``, such as "CHW"; None where unknown.
        model_sha256: Of the model file.
        provider: ONNX Runtime's execution provider.
        labels: Names of the classes.
        signed: Whether values of the map below 0 mean something, as the method says: the map is
            then drawn on a scale that is symmetric about 0.
        quantity: What of the class is explained: "score", "probability", "margin over 7".
        value: That quantity, None where it is the score.
        standard_error: float32, that of ``raw_map`` for methods with random numbers; else None.
        laid: Where the map lies, in words ("rows 16 to 240 of 256"); "" for the whole input.
        preprocessing: How the picture became ``tensor``, in words; "" for arrays.
        detection: The box that is explained, of a detector; else None.
        unfolded: Axes and shape of the picture that ``tensor`` is the flattened form of; else None.
        style: How its method's maps are drawn, one of :data:`onnxcam.output.render.STYLES`.
        relief: float32 [C, *space], the signed values of the input's channels that the map is made
            of, where the method has them; three are red, green, blue. Else None.
        at_layer: Whether the map and the relief, then of the layer's channels, are of a feature
            layer.
    """

    map: Array = field(repr=False)
    raw_map: Array = field(repr=False)
    signed_map: Array = field(repr=False)
    scores: Array = field(repr=False)
    target: int
    label: str | None
    probability: float | None
    feature_layer: str
    reduction_layer: str
    method: str
    parameters: Mapping[str, Any]
    diagnosis: tuple[str, ...]
    source: str
    picture: Array | None = field(repr=False)
    box: tuple[float, float, float, float] | None
    tensor: Array = field(repr=False)
    layout: str | None
    model_sha256: str
    provider: str
    gradient: str = "exact"
    labels: tuple[str, ...] | None = field(default=None, repr=False)
    signed: bool = False
    quantity: str = "score"
    value: float | None = None
    standard_error: Array | None = field(default=None, repr=False)
    unfolded: tuple[str, tuple[int, ...]] | None = field(default=None, repr=False)
    style: str = "overlay"
    relief: Array | None = field(default=None, repr=False)
    at_layer: bool = False
    laid: str = ""
    preprocessing: str = ""
    detection: Detected | None = None

    @property
    def score(self) -> float:
        """What is explained: the target's score, or another quantity of it."""
        return float(self.scores[self.target]) if self.value is None else self.value

    @property
    def title(self) -> str:
        """Label (or class index) and probability (or score) of the target.

        A score that is alone is an "output": of a regression, or one sigmoid.
        """
        unnamed = "output" if self.scores.size == 1 else f"class {self.target}"
        name = self.label or (unnamed if self.target >= 0 else "")
        if self.detection is not None:
            name = f"{self.detection.title}:"
        if self.quantity not in ("score", "probability"):
            name = f"{name} {self.quantity}".strip()
        elif self.probability is not None:
            return f"{name} {100 * self.probability:.1f} %"
        if not np.isfinite(self.score):
            return f"{name}, score not finite"
        return f"{name} {self.score:.4g}"

    def overlay(self, **options: Unpack[render.Blending]) -> Array:
        """Return the picture with the map over it, uint8 [H, W, 3]; a detector's box is framed.

        Args:
            options: See :func:`onnxcam.output.render.overlay` (colormap, alpha, ...); the scale is
                signed where the explanation is, unless ``signed`` says otherwise.

        Raises:
            UsageError: The input was no picture, or an option has no such value.
        """
        whole: render.Blending = {"clip": None, **options}  # as a converted file draws it
        return self.image("overlay", 1, **whole)

    def image(
        self,
        style: render.Style | None = None,
        scale: float = 1,
        **options: Unpack[render.Blending],
    ) -> Array:
        """Return the bare picture with the map in a style, without title and colour bar.

        Args:
            style: One of :data:`onnxcam.output.render.STYLES`; None takes the method's.
            scale: How many pixels a pixel of the picture becomes along each side.
            options: As in :meth:`overlay`.

        Returns:
            uint8 [H, W, 3].

        Raises:
            UsageError: The input was no picture, or an option has no such value.
        """
        how = style or self._style
        chosen: render.Blending = {**self.drawn(how), **options}
        return render.image(
            subject.as_picture(self), self.plane, box=self.box, style=how, scale=scale,
            relief=self.per_channel, marks=self.marks, **chosen,
        )  # fmt: skip

    def figure(self, **options: Unpack[render.Drawing]) -> render.Figure:
        """Return a PIL image: the map over the input, with title and colour bar.

        Args:
            options: See :func:`onnxcam.output.render.figure`, for signals ``figure_1d`` and for
                volumes ``figure_3d`` beside it; ``signed`` as in :meth:`overlay`.

        Raises:
            UsageError: The input cannot be drawn, or an option has no such value.
        """
        texts = {"title": plain(self.title), "subtitle": self._subtitle()}
        texts["note"] = self.preprocessing and plain(f"input: {self.preprocessing}")
        style = options.get("style") or self._style
        chosen: dict[str, Any] = {**texts, **self.drawn(style), **options}
        if self.map.ndim != 2:
            return self._unpictured(texts, options)
        chosen = {"style": style, "relief": self.per_channel, "marks": self.marks, **chosen}
        return render.figure(subject.as_picture(self), self.plane, box=self.box, **chosen)

    def _unpictured(self, texts: Mapping[str, str], options: Mapping[str, Any]) -> render.Figure:
        """Draw what is no picture: a signal, a volume, a row of a table."""
        pictures_only = ("style", "layout", "relief", "scale", "marks")
        given = {k: v for k, v in options.items() if k not in pictures_only}
        chosen: dict[str, Any] = {**texts, **self.drawn("overlay"), **given}
        if self.map.ndim == 3:
            volume = subject.as_volume(self)
            return render.figure_3d(volume, self.map, **{"peak": True, **chosen})
        if subject.is_row(self):
            for name in ("clip", "smooth", "alpha"):  # a bar has its length
                chosen.pop(name, None)
            error = self.standard_error
            if error is not None and error.shape != self.map.shape:
                error = None  # it is of the raw map, which was enlarged
            return render.figure_bars(self.tensor, self.map, error=error, **chosen)
        signal = subject.as_signal(self)
        if options.get("style") != "overlay" and len(signal) > 1:
            chosen["relief"] = self.per_channel
        return render.figure_1d(signal, self.map, **chosen)

    @property
    def per_channel(self) -> Array | None:
        """The relief, where it is of the input's channels: float32 [C, *space]."""
        return None if self.at_layer else self.relief

    @property
    def _style(self) -> render.Style:
        return cast("render.Style", self.style)

    def drawn(self, style: str = "overlay") -> render.Blending:
        """Return how the map is drawn where nothing else is asked for.

        A map with a value of its own for every pixel has outliers, which the colours leave out.
        """
        drawn: render.Blending = {"signed": self.signed}
        if self.style != "overlay":
            drawn["clip"] = CLIP
            if style == "heat" and not self.signed:
                drawn["colormap"] = "gray"
        if self.parameters.get("upsampling") == "nearest":
            drawn["smooth"] = False
        return drawn

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: everything but the arrays, with the map's summary.

        The keys are those of docs/explanation.schema.json; "format" counts its versions.
        """
        return records.summary(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the explanation: a figure (.png, .jpg ...), the maps (.npz) or a summary (.json).

        Args:
            path: Where to; the ending says what. An existing file is replaced, whole or not at
                all.

        Raises:
            UsageError: The ending is another one.
            OnnxcamError: The file cannot be written.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind in render.FORMATS:
            render.save_image(self.figure(), path)
        elif kind == ".npz":
            write_whole(path, records.npz(self))
        elif kind == ".json":
            write_whole(path, json_text(self.as_dict()).encode())
        else:
            raise UsageError(
                f"{path}: cannot write a {kind or 'file without ending'}",
                f"use {', '.join(render.FORMATS)}, .npz or .json",
            )

    @property
    def marks(self) -> list[render.Mark]:
        """The box that is explained, and what it is called."""
        found = self.detection
        return [] if found is None or found.box is None else [(found.box, found.title)]

    def _subtitle(self) -> str:
        fused = f", fused ({self.parameters['fuse']})" if "fuse" in self.parameters else ""
        warnings = (f"Warning: {each}" for each in self.diagnosis)
        where = f", over {self.laid}" if self.laid else ""
        how = f"{self.method} at {self.feature_layer}{fused}{where}"
        return "\n".join(map(plain, [how, *warnings]))

    @property
    def plane(self) -> Array:
        """The map as it is laid over a picture; the raw one where its values are squares.

        Raises:
            UsageError: It has not two axes.
        """
        if self.map.ndim == 2 and self.parameters.get("upsampling") == "nearest":
            return self.raw_map  # its values, as squares of whatever size
        if self.map.ndim != 2:
            raise UsageError(
                f"a map of {self.map.ndim} dimensions is no overlay", "use figure() or save()"
            )
        return self.map
