"""Explained models to carry to other runtimes, and what they have to answer.

What they have to answer is not computed by the explained model: the scores are those of the plain
model, the map is the Explainer's, enlarged in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from architectures import ARCHITECTURES
from architectures.export import export
from architectures.weights import calibrated, inputs
from onnx import ModelProto

from onnxcam import Explainer
from onnxcam.conversion import convert
from support.runtime import run

MODELS = Path(__file__).resolve().parents[2] / "models"
FILES = {
    "squeezenet1.1": MODELS / "coffee.png",
    "mobilenetv2": MODELS / "chelsea.png",
    "japanese_vowels": MODELS / "samples" / "vowels_speaker3_1.npy",
}
OTHER = 1  # the class that is asked for where it is not the top one


@dataclass(frozen=True)
class Subject:
    """A model and what its explained twin has to answer.

    Attributes:
        name: Of the model.
        model: The plain model.
        feeds: Its input.
        scores: What the plain model says, by output.
        top: float32 [1, 1, *space]: the map for the top class.
        other: The same for class ``OTHER``.
    """

    name: str
    model: ModelProto
    feeds: dict[str, np.ndarray[Any, Any]]
    scores: dict[str, Any]
    top: np.ndarray[Any, Any]
    other: np.ndarray[Any, Any]

    def write(self, folder: Path, **options: Any) -> Path:
        """Write the explained model; returns its path.

        The opset is said, which lets the file have the IR version of its time: torch writes 10.
        """
        path = folder / f"{self.name}.onnx"
        convert(self.model, path, opset=20, check=False, **options)
        return path


def subjects() -> list[Subject]:
    """Return SqueezeNet, MobileNetV2, the sequence classifier and a vision transformer."""
    found = []
    for name, sample in FILES.items():
        path = MODELS / f"{name}.onnx"
        tensor = Explainer(path, device="cpu", threads=1)(sample).tensor[None]
        found.append(_subject(name, onnx.load(str(path)), tensor))
    entry = ARCHITECTURES["vit_b"]
    x = inputs(entry, 2)
    net = calibrated(entry.small(), x)
    model = export(net, x, dynamo=True, feature=False)
    return [*found, _subject("vit", model, x[:1].numpy())]


def _subject(name: str, model: ModelProto, tensor: np.ndarray[Any, Any]) -> Subject:
    explain = Explainer(model, device="cpu", threads=1)
    feeds = {explain.input.name: tensor}
    top, other = (explain(tensor, target=t).map[None, None] for t in (None, OTHER))
    return Subject(name, model, feeds, run(model, feeds), top, other)
