"""The way from a picture to the tensor, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.preprocess_cases import described, model_input, photo

from onnxcam.inputs import PRESETS, InputSpec, prepare

# --- The presets, pixel by pixel --------------------------------------------------------


def naive(preset, image, height, width):
    """The tensor [C, H, W] float64 of each preset, written out with Pillow and NumPy alone."""
    if preset == "imagenet":
        short = round(min(height, width) * 256 / 224)
        w, h = image.size
        scaled = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
        image = image.resize(scaled, Image.Resampling.BILINEAR)
        left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
        x = np.array(image)[top : top + height, left : left + width].astype(np.float64)
        for channel, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
            x[..., channel] = (x[..., channel] / 255 - mean) / std
    else:
        x = np.array(image.resize((width, height), Image.Resampling.BILINEAR)).astype(np.float64)
        if preset == "keras-tf":
            x = x / 127.5 - 1
        elif preset == "keras-caffe":
            x = x[..., [2, 1, 0]] - [103.939, 116.779, 123.68]
        elif preset == "unit":
            x = x / 255
    return x.transpose(2, 0, 1)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
@pytest.mark.parametrize("picture", [(451, 300), (300, 451), (97, 101), (20, 17)])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (33, 33)])
def test_every_preset_is_its_naive_formula(preset, picture, height, width):
    image = photo(*picture)
    want = naive(preset, image, height, width)
    for dtype, tolerance in (("float32", 3e-7), ("float16", 1e-3)):
        into = model_input(1, 3, height, width, dtype=dtype)
        got = prepare(image, described(into, preset), into).tensor
        assert got.dtype == dtype
        assert got.shape == (1, 3, height, width)
        np.testing.assert_allclose(got[0], want, rtol=tolerance, atol=tolerance)
        nhwc = model_input("n", height, width, 3, dtype=dtype)
        last = prepare(image, described(nhwc, preset), nhwc).tensor
        np.testing.assert_array_equal(last, got.transpose(0, 2, 3, 1))


TWO_PIXELS = np.array([[[255, 0, 128], [10, 20, 30]]], np.uint8)


@pytest.mark.parametrize(
    ("preset", "first", "second"),
    [
        ("raw", (255, 0, 128), (10, 20, 30)),
        ("unit", (1, 0, 128 / 255), (10 / 255, 20 / 255, 30 / 255)),
        ("keras-tf", (1, -1, 1 / 255), (-0.921568627, -0.843137255, -0.764705882)),
        ("keras-caffe", (24.061, -116.779, 131.32), (-73.939, -96.779, -113.68)),
    ],
)
def test_literal_pixels(preset, first, second):
    into = model_input(1, 3, 1, 2)
    tensor = prepare(TWO_PIXELS, described(into, preset), into).tensor
    np.testing.assert_allclose(tensor[0, :, 0, 0], first, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(tensor[0, :, 0, 1], second, rtol=1e-6, atol=1e-6)


def test_literal_pixels_of_imagenet():
    into = model_input(1, 3, 7, 7)
    image = Image.new("RGB", (40, 40), (255, 0, 128))
    tensor = prepare(image, described(into, "imagenet"), into).tensor
    want = np.array([2.2489083, -2.0357143, 0.4264924], np.float32)
    np.testing.assert_allclose(
        tensor[0], np.broadcast_to(want[:, None, None], (3, 7, 7)), rtol=1e-6
    )


def test_antialiasing_averages_where_bare_bilinear_would_pick():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, 8::16] = 200  # bilinear between columns 7 and 8 would give 100
    into = model_input(1, 3, 4, 4)
    tensor = prepare(stripes, described(into, "raw"), into).tensor
    np.testing.assert_allclose(tensor, 200 / 16, atol=2)


@pytest.mark.parametrize(
    ("interpolation", "filter_"), [("nearest", 0), ("lanczos", 1), ("bilinear", 2), ("bicubic", 3)]
)
def test_interpolation_is_pillows(interpolation, filter_):
    into, image = model_input(1, 9, 14, 3), photo(50, 41)
    spec = described(into, InputSpec(interpolation=interpolation))
    want = np.array(image.resize((14, 9), Image.Resampling(filter_)))
    np.testing.assert_array_equal(prepare(image, spec, into).tensor[0], want)


def test_stretch_with_resize_size_crops_a_square():
    into, image = model_input(1, 3, 20, 16), photo(100, 50)
    spec = described(into, InputSpec(resize="stretch", resize_size=32))
    result = prepare(image, spec, into)
    want = np.array(image.resize((32, 32), Image.Resampling.BILINEAR))[6:26, 8:24]
    np.testing.assert_array_equal(result.tensor[0], want.transpose(2, 0, 1))
    assert result.box == pytest.approx((25.0, 9.375, 75.0, 40.625))


def test_small_picture_is_filled_up_with_black_as_torchvision_does():
    into = model_input(1, 3, 4, 6)
    result = prepare(
        np.full((3, 3, 3), 9, np.uint8), described(into, InputSpec(resize="none")), into
    )
    want = np.zeros((4, 6))
    want[0:3, 1:4] = 9  # 1 row over: below; 3 columns over: 1 left, 2 right
    np.testing.assert_array_equal(result.tensor[0, 0], want)
    assert result.box == (-1, 0, 5, 4)


@pytest.mark.parametrize(
    ("dtype", "mean", "want"), [("uint8", 0, [255, 0, 128]), ("int8", 128, [127, -128, 0])]
)
def test_integer_models_take_whole_pixels(dtype, mean, want):
    into = model_input("n", 1, 2, 3, dtype=dtype, layout="NHWC")
    tensor = prepare(TWO_PIXELS, described(into, InputSpec(mean=mean)), into).tensor
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor[0, 0, 0], want)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CHW", "HWC", "NHW", "HW", "NWHC"])
def test_every_layout_puts_each_pixel_at_its_place(layout):
    sizes = {"N": 1, "C": 3 if "C" in layout else 1, "H": 5, "W": 4}
    into = model_input(*(sizes[axis] for axis in layout))
    image = photo(4, 5)
    tensor = prepare(image, described(into, InputSpec(layout=layout)), into).tensor
    pixels = np.array(image if "C" in layout else image.convert("L"))
    for y in range(5):
        for x in range(4):
            at = {"N": 0, "H": y, "W": x, "C": slice(None)}
            np.testing.assert_array_equal(tensor[tuple(at[axis] for axis in layout)], pixels[y, x])


@pytest.mark.parametrize("preset", ["unit", "raw", "keras-tf"])
def test_one_channel_gets_grey(preset):
    into, image = model_input(1, 1, 28, 28), photo(60, 60)
    spec = described(into, preset)
    assert spec.channels == "GRAY"
    grey = np.array(image.convert("L").resize((28, 28), Image.Resampling.BILINEAR)).astype(float)
    want = {"unit": grey / 255, "raw": grey, "keras-tf": grey / 127.5 - 1}[preset]
    np.testing.assert_allclose(prepare(image, spec, into).tensor[0, 0], want, atol=1e-6)


# --- Boxes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "option", "box"),
    [
        ((512, 512), "imagenet", (32, 32, 480, 480)),
        ((1024, 512), "imagenet", (288, 32, 736, 480)),
        ((512, 1024), "imagenet", (32, 288, 480, 736)),
        ((451, 300), "imagenet", (36080 / 384, 18.75, 137104 / 384, 281.25)),
        ((451, 300), "unit", (0, 0, 451, 300)),
        ((300, 260), InputSpec(resize="none"), (38, 18, 262, 242)),
    ],
)
def test_box_in_pixels_of_the_photograph(picture, option, box):
    into, image = model_input(1, 3, 224, 224), photo(*picture)
    result = prepare(image, described(into, option), into)
    assert result.box == pytest.approx(box)
    np.testing.assert_array_equal(result.picture, np.array(image))


SIDES = st.integers(8, 200)
RULES = st.one_of(
    st.just({"resize": "stretch"}),
    st.integers(4, 64).map(lambda pixels: {"resize": "shortest", "resize_size": pixels}),
)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(4, 48), st.integers(4, 48), RULES)
def test_box_is_where_the_tensors_pixels_come_from(width, height, rows, columns, rule):
    """A picture whose red is x and green is y must show its own box at each tensor pixel."""
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(width), np.arange(height)[:, None]
    into = model_input(1, rows, columns, 3)
    result = prepare(ramp, described(into, InputSpec(**rule)), into)
    x0, y0, x1, y1 = result.box
    x = x0 + (np.arange(columns) + 0.5) * (x1 - x0) / columns - 0.5
    y = y0 + (np.arange(rows) + 0.5) * (y1 - y0) / rows - 0.5
    # A filter near the edge sees one side only, so compare two filter widths inside.
    margin_x, margin_y = 1 + 2 * (x1 - x0) / columns, 1 + 2 * (y1 - y0) / rows
    inner_x = (x >= margin_x) & (x <= width - 1 - margin_x)
    inner_y = (y >= margin_y) & (y <= height - 1 - margin_y)
    inner = np.ix_(inner_y, inner_x)
    tensor = result.tensor[0]
    np.testing.assert_allclose(
        tensor[..., 0][inner], np.broadcast_to(x, (rows, columns))[inner], atol=1.01
    )
    np.testing.assert_allclose(
        tensor[..., 1][inner], np.broadcast_to(y[:, None], (rows, columns))[inner], atol=1.01
    )


@settings(max_examples=80, deadline=None)
@given(SIDES, SIDES, st.integers(4, 48), st.integers(4, 48), st.integers(4, 64))
def test_box_geometry_of_shortest(width, height, rows, columns, pixels):
    into = model_input(1, 3, rows, columns)
    spec = described(into, InputSpec(resize="shortest", resize_size=pixels))
    x0, y0, x1, y1 = prepare(photo(width, height), spec, into).box
    ratio = min(width, height) / pixels  # photograph pixels a tensor pixel, along the short side
    longer = int(pixels * max(width, height) / min(width, height))
    across = ratio if width <= height else width / longer
    down = height / longer if width <= height else ratio
    assert x1 - x0 == pytest.approx(columns * across)
    assert y1 - y0 == pytest.approx(rows * down)
    assert abs((x0 + x1) - width) <= across * 1.001  # centred to half a resized pixel
    assert abs((y0 + y1) - height) <= down * 1.001
    if rows <= pixels and columns <= pixels:
        assert min(x0, y0) >= 0
        assert x1 <= width + 1e-9
        assert y1 <= height + 1e-9
