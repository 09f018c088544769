"""What an explainer returns: the map and everything needed to read it. Nothing is normalised."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, Unpack

import numpy as np

from onnxcam.errors import UsageError, json_text, plain
from onnxcam.files import write_whole
from onnxcam.output import render
from onnxcam.output.detection import Detected
from onnxcam.version import __version__

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Explanation:
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
    laid: str = ""
    preprocessing: str = ""
    detection: Detected | None = None

    @property
    def score(self) -> float:
        """What is explained: the target's score, or another quantity of it."""
        return float(self.scores[self.target]) if self.value is None else self.value

    @property
    def title(self) -> str:
        """Label (or class index) and probability (or score) of the target."""
        name = self.label or (f"class {self.target}" if self.target >= 0 else "")
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
        options = {"signed": self.signed, **options}
        picture = render.overlay(self._picture(), self._plane(), box=self.box, **options)
        if not self._marks():
            return picture
        from onnxcam.output.render.marks import marked

        return marked(picture, self._marks())

    def figure(self, **options: Unpack[render.Drawing]) -> render.Figure:
        """Return a PIL image: the map over the input, with title and colour bar.

        Args:
            options: See :func:`onnxcam.output.render.figure`, for signals ``figure_1d`` and for
                volumes ``figure_3d`` beside it; ``signed`` as in :meth:`overlay`.

        Raises:
            UsageError: The input cannot be drawn, or an option has no such value.
        """
        texts = {"title": plain(self.title), "subtitle": self._subtitle()}
        chosen: dict[str, Any] = {**texts, "signed": self.signed, **options}
        if self.map.ndim == 1:
            return render.figure_1d(self._signal(), self.map, **chosen)
        if self.map.ndim == 3:
            return render.figure_3d(self._volume(), self.map, **chosen)
        chosen = {"marks": self._marks(), **chosen}
        return render.figure(self._picture(), self.map, box=self.box, **chosen)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: everything but the arrays, with the map's summary."""
        order = np.argsort(self.scores)[::-1][:5]
        peak = np.unravel_index(int(np.argmax(self.map)), self.map.shape) if self.map.size else ()
        return {
            "source": self.source,
            "preprocessing": self.preprocessing or None,
            "target": self.target if self.target >= 0 else None,
            "label": self.label,
            "quantity": self.quantity,
            "score": _number(self.score),
            "probability": self.probability,
            "top": [
                {"class": int(i), "label": self._label(int(i)), "score": _number(self.scores[i])}
                for i in order
            ],
            "method": self.method,
            "parameters": dict(self.parameters),
            "signed": self.signed,
            "gradient": self.gradient,
            "feature_layer": self.feature_layer,
            "reduction_layer": self.reduction_layer,
            "map": {
                "shape": list(self.map.shape),
                "raw_shape": list(self.raw_map.shape),
                "min": _number(self.map.min()),
                "max": _number(self.map.max()),
                "peak": [int(i) for i in peak],
                "standard_error": self._error(),
                "laid": self.laid,
            },
            "box": self.box,
            "detection": self.detection and self.detection.as_dict(),
            "diagnosis": list(self.diagnosis),
            "model_sha256": self.model_sha256,
            "provider": self.provider,
            "onnxcam": __version__,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the explanation: a figure (.png), the maps (.npz) or a summary (.json).

        Args:
            path: Where to; the ending says what. An existing file is replaced, whole or not at
                all.

        Raises:
            UsageError: The ending is another one.
            OnnxcamError: The file cannot be written.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind == ".png":
            render.save_png(self.figure(), path)
        elif kind == ".npz":
            write_whole(path, self._npz())
        elif kind == ".json":
            write_whole(path, json_text(self.as_dict()).encode())
        else:
            raise UsageError(
                f"{path}: cannot write a {kind or 'file without ending'}", "use .png, .npz or .json"
            )

    def _marks(self) -> list[tuple[tuple[float, float, float, float], str]]:
        """Return the box that is explained, and what it is called."""
        found = self.detection
        return [] if found is None or found.box is None else [(found.box, found.title)]

    def _npz(self) -> bytes:
        buffer = io.BytesIO()
        error = self.standard_error
        more: dict[str, Any] = {} if error is None else {"standard_error": error}
        np.savez_compressed(
            buffer,
            map=self.map,
            raw_map=self.raw_map,
            signed_map=self.signed_map,
            scores=self.scores,
            target=self.target,
            info=json_text(self.as_dict(), None),
            **more,
        )
        return buffer.getvalue()

    def _error(self) -> float | None:
        """Return the root mean square of the map's standard error, in its units."""
        if self.standard_error is None:
            return None
        return _number(np.sqrt(np.mean(np.square(self.standard_error, dtype=np.float64))))

    def _subtitle(self) -> str:
        fused = f", fused ({self.parameters['fuse']})" if "fuse" in self.parameters else ""
        warnings = (f"Warning: {each}" for each in self.diagnosis)
        where = f", over {self.laid}" if self.laid else ""
        recipe = f" · {self.preprocessing}" if self.preprocessing else ""
        how = f"{self.method} at {self.feature_layer}{fused}{where}{recipe}"
        return "\n".join(map(plain, [how, *warnings]))

    def _label(self, index: int) -> str | None:
        return self.labels[index] if self.labels and index < len(self.labels) else None

    def _plane(self) -> Array:
        if self.map.ndim != 2:
            raise UsageError(
                f"a map of {self.map.ndim} dimensions is no overlay", "use figure() or save()"
            )
        return self.map

    def _picture(self) -> Array:
        """Return the photograph, or the tensor itself as grey or colour."""
        if self.picture is not None:
            return self.picture
        layout, shape = self.unfolded or (self.layout or "", self.tensor.shape)
        image = self.tensor.astype(np.float32).reshape(shape)
        if layout == "HW":
            layout, image = "HWC", image[..., None]
        if sorted(layout) != ["C", "H", "W"]:
            raise UsageError("the input is no picture", "save the map as .npz")
        image = np.moveaxis(image, layout.index("C"), -1)
        image = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, -1)
        low, high = float(image.min()), float(image.max())
        return ((image - low) / (high - low or 1) * 255).astype(np.uint8)

    def _signal(self) -> Array:
        if self.layout is not None and "C" in self.layout:
            return np.moveaxis(self.tensor, self.layout.index("C"), 0)
        return self.tensor.reshape(-1, self.tensor.shape[-1])

    def _volume(self) -> Array:
        axis = (self.layout or "CDHW").index("C")
        return np.asarray(np.moveaxis(self.tensor, axis, 0)[0])


def _number(value: Any) -> float | None:
    """Return a float that JSON can hold: None where it is not finite."""
    return float(value) if np.isfinite(value) else None
