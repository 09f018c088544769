"""Small inputs, descriptions and photographs for the tests of preprocessing."""

from __future__ import annotations

import numpy as np
from PIL import Image

from onnxcam.inputs import ModelInput, resolve


def model_input(*shape, dtype="float32", layout=None):
    return ModelInput("x", shape, np.dtype(dtype), layout)


def described(into, option=None, *, path=None, metadata=None):
    return resolve(into, model_path=path, metadata=metadata or {}, option=option)


def photo(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
