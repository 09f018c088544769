"""Hugging Face's files beside a model: taken over exactly, or refused."""

from __future__ import annotations

import json

import pytest
from support.preprocess_cases import described, model_input

from onnxcam.errors import InputError, UsageError
from onnxcam.inputs import InputSpec

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "scale": 1 / 255}
NET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "scale": 1 / 255}
NEW = {"do_resize": True, "do_rescale": True, "rescale_factor": 0.00392156862745098}


def square(edge):
    return {"height": edge, "width": edge}


def stretch(edge, **more):
    return {"resize": "stretch", "size": (edge, edge), **more}


def shortest(pixels, edge, **more):
    return {"resize": "shortest", "resize_size": pixels, "size": (edge, edge), **more}


# The files as they are published with such models, and what they amount to.
CONFIGS = {
    "ViT before 2022": (
        {"feature_extractor_type": "ViTFeatureExtractor", "do_normalize": True, "do_resize": True,
         "resample": 2, "size": 224, **HALF},
        stretch(224, **HALVES),
    ),
    "ViT": (
        {**NEW, "image_processor_type": "ViTImageProcessor", "do_normalize": True, "resample": 2,
         "size": square(224), **HALF},
        stretch(224, **HALVES),
    ),
    "ConvNeXT 224": (
        {**NEW, "image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875,
         "do_normalize": True, "resample": 3, "size": {"shortest_edge": 224}, **IMAGENET},
        shortest(256, 224, interpolation="bicubic", **NET),
    ),
    "ConvNeXT 384": (
        {**NEW, "image_processor_type": "ConvNextImageProcessorFast", "crop_pct": 0.875,
         "do_normalize": True, "resample": 3, "size": {"shortest_edge": 384}, **IMAGENET},
        stretch(384, interpolation="bicubic", **NET),
    ),
    "ResNet before 2022": (
        {"feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875,
         "do_normalize": True, "do_resize": True, "resample": 3, "size": 224, **IMAGENET},
        shortest(256, 224, interpolation="bicubic", **NET),
    ),
    "MobileNetV2": (
        {**NEW, "image_processor_type": "MobileNetV2ImageProcessor", "do_center_crop": True,
         "crop_size": square(224), "do_normalize": True, "resample": 2,
         "size": {"shortest_edge": 256}, **HALF},
        shortest(256, 224, **HALVES),
    ),
    "BEiT before 2022": (
        {"feature_extractor_type": "BeitFeatureExtractor", "do_center_crop": False,
         "crop_size": 224, "do_normalize": True, "do_resize": True, "reduce_labels": False,
         "resample": 2, "size": 224, **HALF},
        stretch(224, **HALVES),
    ),
    "BEiT that crops": (
        {**NEW, "image_processor_type": "BeitImageProcessor", "do_center_crop": True,
         "crop_size": square(224), "do_normalize": True, "resample": 3, "size": square(256),
         **HALF},
        stretch(224, resize_size=256, interpolation="bicubic", **HALVES),
    ),
    "CLIP before 2022": (
        {"feature_extractor_type": "CLIPFeatureExtractor", "do_center_crop": True,
         "crop_size": 224, "do_normalize": True, "do_resize": True, "resample": 3, "size": 224,
         **HALF},
        shortest(224, 224, interpolation="bicubic", **HALVES),
    ),
    "MobileViT": (
        {"feature_extractor_type": "MobileViTFeatureExtractor", "do_center_crop": True,
         "crop_size": 256, "do_flip_channel_order": True, "do_resize": True, "resample": 2,
         "size": 288},
        shortest(288, 256, channels="BGR", scale=1 / 255),
    ),
    "MobileViT that leaves its defaults out": (
        {"image_processor_type": "MobileViTImageProcessor", "crop_size": 256, "resample": 2,
         "size": {"shortest_edge": 288}},
        shortest(288, 256, channels="BGR", scale=1 / 255),
    ),
    "PoolFormer": (
        {"feature_extractor_type": "PoolFormerFeatureExtractor", "crop_pct": 0.9,
         "do_center_crop": True, "crop_size": square(224), "do_normalize": True,
         "do_resize": True, "resample": 3, "size": 224, **IMAGENET},
        shortest(248, 224, interpolation="bicubic", **NET),
    ),
    "LeViT": (
        {**NEW, "image_processor_type": "LevitImageProcessor", "do_center_crop": True,
         "crop_size": square(224), "do_normalize": True, "resample": 3,
         "size": {"shortest_edge": 224}, **IMAGENET},
        shortest(256, 224, interpolation="bicubic", **NET),
    ),
    "no type, no resizing": (
        {"do_resize": False, "do_center_crop": True, "crop_size": 200, "do_rescale": False,
         "do_normalize": True, "image_mean": [124, 116, 104], "image_std": [58, 57, 57]},
        {"resize": "none", "size": (200, 200), "scale": 1.0, "mean": (124, 116, 104),
         "std": (58, 57, 57)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_published_configurations(name, tmp_path):
    config, want = CONFIGS[name]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    spec = described(model_input("n", 3, "h", "w"), path=tmp_path / "model.onnx")
    expected = InputSpec(**{"layout": "NCHW", "dtype": "float32", "channels": "RGB", **want})
    assert spec == expected
    assert spec.source["resize"] == "preprocessor_config.json"


VIT = CONFIGS["ViT"][0]
BARE = {key: value for key, value in VIT.items() if key != "image_processor_type"}
REFUSED = [
    ({**VIT, "image_processor_type": "ImageGPTImageProcessor"}, "'ImageGPTImageProcessor'"),
    ({**VIT, "do_pad": True}, "do_pad = True"),
    ({**VIT, "include_top": True}, "include_top = True"),
    ({**VIT, "resample": 5}, "resample = 5"),
    ({**VIT, "resample": None}, "resample = None"),
    ({**VIT, "size": {"shortest_edge": 800, "longest_edge": 1333}}, "size = {"),
    ({**VIT, "size": [224, 224]}, r"size = \[224"),
    ({**BARE, "size": 224}, "size = 224"),
    ({**BARE, "crop_size": 224}, "not whether to crop"),
    ({**BARE, "size": {"shortest_edge": 224}, "crop_pct": 0.9}, "crop_pct = 0.9"),
    ({**VIT, "crop_pct": 0.9}, "crop_pct"),
    ({**CONFIGS["ConvNeXT 224"][0], "crop_pct": "most"}, "crop_pct = 'most'"),
    ({**VIT, "do_center_crop": True, "crop_size": {"shortest_edge": 3}}, "crop_size"),
    ({**VIT, "do_center_crop": True, "crop_size": 9, "size": {"height": 8, "width": 9}}, "size"),
    ({**VIT, "image_mean": None}, "not both said"),
    ([1], "no object"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_what_cannot_be_taken_over_exactly_is_refused(config, message, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    into = model_input(1, 3, 224, 224)
    with pytest.raises(UsageError, match=rf"preprocessor_config\.json cannot be used: .*{message}"):
        described(into, path=tmp_path / "model.onnx")
    assert described(into, "unit", path=tmp_path / "model.onnx").scale == 1 / 255


def test_broken_file_is_named(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(UsageError, match=r"preprocessor_config\.json is not JSON: .*line 1"):
        described(model_input(1, 3, 8, 8), path=tmp_path / "model.onnx")


def test_size_that_the_model_does_not_have_is_a_contradiction(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    with pytest.raises(UsageError, match=r"preprocessor_config.json says size \[224, 224\]"):
        described(model_input(1, 3, 384, 384), path=tmp_path / "model.onnx")


def test_the_hubs_onnx_folder_looks_one_up(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "dog", "0": "cat"}}))
    spec = described(model_input("n", 3, 224, 224), path=tmp_path / "onnx" / "model.onnx")
    assert (spec.scale, spec.labels) == (1 / 255, ("cat", "dog"))
    assert spec.source["labels"] == "config.json"
    with pytest.raises(UsageError, match="Nothing says"):
        described(model_input("n", 3, 224, 224), path=tmp_path / "other" / "model.onnx")


@pytest.mark.parametrize("text", ["// not JSON", '{"port": 80}', "[1]", '{"id2label": {}}'])
def test_other_programs_config_json_says_nothing(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    spec = described(model_input(1, 3, 8, 8), "unit", path=tmp_path / "model.onnx")
    assert spec.labels is None


def test_id2label_with_a_gap_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "cat", "2": "dog"}}))
    with pytest.raises(InputError, match=r"config\.json: 2 labels, but none for class 1"):
        described(model_input(1, 3, 8, 8), "unit", path=tmp_path / "model.onnx")
