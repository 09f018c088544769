"""The web page's arithmetic, number for number, without a browser."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.web_driver import NODE, node, packed, unpacked

from onnxcam.inputs import InputSpec, ModelInput, prepare, to_metadata
from onnxcam.output import render
from onnxcam.output.render.colour import colormap

pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(NODE is None, reason="node is missing: apt-get install nodejs"),
]

FLOAT = {"layout": "NCHW", "channels": "RGB", "dtype": "float32"}
IMAGENET = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SHORTEST = {"resize": "shortest", "resize_size": 64}
DESCRIPTIONS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "stretch": ((90, 61), {"size": (48, 56)}),
    "enlarge": ((31, 17), {"size": (48, 56)}),
    "one side only": ((56, 100), {"size": (48, 56)}),
    "landscape": ((151, 100), {**SHORTEST, **IMAGENET, "size": (56, 56)}),
    "portrait": ((100, 151), {**SHORTEST, **IMAGENET, "size": (56, 56)}),
    "halves round to even": ((70, 71), {"resize": "none", "size": (60, 61)}),
    "black beyond the edge": ((90, 64), {**SHORTEST, "size": (75, 100), "mean": (9.0,)}),
    "square, then crop": ((90, 61), {"resize": "stretch", "resize_size": 60, "size": (51, 41)}),
    "as it is": ((33, 21), {"resize": "none"}),
    "strip": ((400, 3), {"size": (16, 16)}),
    "bicubic down": ((90, 61), {"size": (32, 32), "interpolation": "bicubic"}),
    "bicubic up": ((19, 23), {"size": (64, 64), "interpolation": "bicubic"}),
    "lanczos": ((90, 17), {"size": (32, 40), "interpolation": "lanczos"}),
    "nearest": ((97, 13), {"size": (33, 40), "interpolation": "nearest"}),
    "grey": ((90, 61), {"size": (28, 28), "channels": "GRAY", "scale": 1 / 255}),
    "grey without channel": ((40, 61), {"size": (28, 20), "channels": "GRAY", "layout": "NHW"}),
    "bgr bytes last": ((90, 61), {"channels": "BGR", "layout": "NHWC", "dtype": "uint8"}),
    "bgr means": ((50, 61), {"channels": "BGR", "mean": (103.939, 116.779, 123.68)}),
    "signed bytes": ((50, 61), {"size": (20, 20), "mean": (128.0,), "dtype": "int8"}),
    "doubles, odd layout": ((50, 61), {**IMAGENET, "layout": "CWH", "dtype": "float64"}),
}


def photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_page_makes_the_tensor_bit_for_bit(name: str) -> None:
    size, fields = DESCRIPTIONS[name]
    spec = InputSpec(**{**FLOAT, **fields})
    picture = photo(*size)
    free = tuple("n" for _ in spec.layout)
    want = prepare(picture, spec, ModelInput("x", free, np.dtype(spec.dtype), spec.layout))
    said = {k.removeprefix("onnxcam.input."): json.loads(v) for k, v in to_metadata(spec).items()}
    (got,) = node("compute.mjs", job=[{"prepare": {"picture": packed(picture), "spec": said}}])
    np.testing.assert_array_equal(unpacked(got, spec.dtype), want.tensor)
    assert got["box"] == list(want.box)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dtype": "uint8", "mean": (1.0,)}, "uint8 cannot hold"),
        ({"dtype": "float16"}, "float16"),
        ({"resize": "shortest", "resize_size": 12000}, "Crop it to a usual shape"),
    ],
)
def test_what_the_page_cannot_make_it_refuses(fields: dict[str, Any], says: str) -> None:
    spec = InputSpec(**{**FLOAT, **fields}).said()
    (got,) = node("compute.mjs", job=[{"prepare": {"picture": packed(photo(9, 8)), "spec": spec}}])
    assert says in got["error"]


WAVES = np.sin(np.arange(70.0))[:, None] * np.cos(np.arange(50.0) / 2)
OVERLAYS: dict[str, tuple[np.ndarray, tuple[float, ...], float]] = {
    "whole": (abs(WAVES[:7, :9]), (0, 0, 90, 61), 0.5),
    "inside": (abs(WAVES[:7, :9]), (11.5, 4.5, 70.2, 60), 0.8),
    "beyond": (abs(WAVES[:7, :9]), (-20, 8, 70, 80), 0.5),
    "larger than its box": (abs(WAVES), (10, 10, 47, 58), 0.5),
    "larger in one direction": (abs(WAVES), (10, 10, 87, 58), 1.0),
    "signed": (WAVES[:13, :12], (0, 0, 90, 61), 0.6),
    "zero": (0 * WAVES[:5, :5], (0, 0, 90, 61), 0.5),
    "constant": (0 * WAVES[:5, :5] + 3, (0, 0, 90, 61), 0.5),
    "all negative": (-1 - abs(WAVES[:5, :5]), (0, 0, 90, 61), 0.5),
}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_page_draws_the_overlay_of_python(name: str) -> None:
    values, box, alpha = OVERLAYS[name]
    values, picture = values.astype(np.float32), photo(90, 61)
    signed = bool((values < 0).any())
    want = render.overlay(picture, values, box=box, alpha=alpha, signed=signed)
    colours = colormap("bluered" if signed else "ember")
    job = {"picture": packed(picture), "map": packed(values), "box": box, "alpha": alpha}
    (got,) = node("compute.mjs", job=[{"overlay": {**job, "colours": packed(colours)}}])
    off = np.abs(unpacked(got, np.uint8)[..., :3].astype(int) - want)
    assert off.max() <= 4, "more than the neighbour in the colour map"
    assert off.mean() < 0.02
