"""timm's `config.json`: the pictures come out as timm's own evaluation transform makes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from support import nets

from onnxcam import Explainer, UsageError, convert

OWN = {
    "input_size": [3, 32, 32],
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.25],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
}


def _desk(folder: Path, config: Any) -> Path:
    onnx.save(nets.cnn(channels=3, size=32), folder / "m.onnx")
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "m.onnx"


def _picture() -> Image.Image:
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 255, (50, 70, 3), dtype=np.uint8))


def test_a_picture_comes_out_as_timm_makes_it(tmp_path: Path) -> None:
    """Resize(floor(32 / 0.875)), CenterCrop(32), ToTensor, Normalize."""
    model = _desk(tmp_path, {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": OWN})
    found = Explainer(model, device="cpu", threads=1)(_picture()).tensor
    edge = math.floor(32 / 0.875)
    wide = int(edge * 70 / 50)
    image = _picture().resize((wide, edge), Image.Resampling.BICUBIC)
    left, top = round((wide - 32) / 2), round((edge - 32) / 2)
    pixels = np.asarray(image.crop((left, top, left + 32, top + 32))) / 255
    want = ((pixels - OWN["mean"]) / OWN["std"]).transpose(2, 0, 1)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


def test_what_is_known_is_written(tmp_path: Path) -> None:
    names = {"n01": "cat, house cat", "n02": "dog", "n03": "bird"}
    config = {"pretrained_cfg": OWN, "label_names": list(names), "label_descriptions": names}
    model = _desk(tmp_path, config)
    explainer = Explainer(model, device="cpu", threads=1)
    assert explainer.labels == tuple(names.values())
    made = convert(model, tmp_path / "out.onnx").explained.model.metadata
    assert json.loads(made["onnxcam.input.labels"]) == list(names.values())
    assert json.loads(made["onnxcam.input.resize_size"]) == 36


def test_labels_stand_also_where_another_says_the_rest(tmp_path: Path) -> None:
    model = _desk(tmp_path, {"label_names": ["a", "b", "c"], "pretrained_cfg": OWN})
    explainer = Explainer(model, preprocess="unit", device="cpu", threads=1)
    assert explainer.labels == ("a", "b", "c") and explainer.spec.mean == (0.0,)


CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "older, in one": ({**OWN, "architecture": "vit"}, {"resize": "shortest", "resize_size": 36}),
    "squashed": (
        {"pretrained_cfg": {**OWN, "crop_mode": "squash", "crop_pct": 1.0}},
        {"resize": "stretch", "size": (32, 32)},
    ),
    "without a crop": (
        {"pretrained_cfg": {**OWN, "crop_pct": 1.0}}, {"resize": "shortest", "resize_size": 32},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_its_recipes(name: str, tmp_path: Path) -> None:
    config, want = CONFIGS[name]
    spec = Explainer(_desk(tmp_path, config), device="cpu", threads=1).spec
    assert {key: getattr(spec, key) for key in want} == want
    assert spec.source["mean"] == "config.json (timm)"


REFUSED = {
    "border": ({"pretrained_cfg": {**OWN, "crop_mode": "border"}}, "crop_mode 'border'"),
    "numbers": ({"pretrained_cfg": {**OWN, "mean": ["a"]}}, "could not convert"),
    "channels": ({"pretrained_cfg": {**OWN, "input_size": [4, 32, 32]}}, "4 channels"),
    "filter": ({"pretrained_cfg": {**OWN, "interpolation": "random"}}, "interpolation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_counterpart_is_refused(name: str, tmp_path: Path) -> None:
    config, said = REFUSED[name]
    explainer = Explainer(_desk(tmp_path, config), device="cpu", threads=1)
    with pytest.raises(UsageError, match=said):
        explainer(_picture())


@pytest.mark.parametrize("config", [{}, [], "text", {"model_type": "bert"}, {"mean": 3}])
def test_a_file_of_another_says_nothing(config: Any, tmp_path: Path) -> None:
    explainer = Explainer(_desk(tmp_path, config), device="cpu", threads=1)
    with pytest.raises(UsageError, match="Nothing says"):
        explainer(_picture())
