"""Normalising, colour maps, overlays and files: literal values and pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab
from skimage.transform import resize_local_mean

from onnxcam.errors import InputError, OnnxcamError, UsageError
from onnxcam.output.render import (
    COLORMAPS,
    blend,
    normalise,
    overlay,
    save_png,
    value_range,
)
from onnxcam.output.render.colour import STEPS, colormap, colours
from onnxcam.output.upsample import upsample

NAN, INF = np.nan, np.inf
GRAY = np.full((4, 6, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("map", "mode", "expected"),
    [
        ([-2, 0, 1, 4], "max", [0, 0, 0.25, 1]),
        ([-2, 0, 1, 4], "minmax", [0, 1 / 3, 0.5, 1]),
        ([-2, 0, 1, 4], "signed", [-0.5, 0, 0.25, 1]),
        ([-4, 1], "signed", [-1, 0.25]),
        ([3, 3], "max", [1, 1]),
        ([3, 3], "minmax", [0, 0]),
        ([-3, -3], "signed", [-1, -1]),
        ([0, 0], "max", [0, 0]),
        ([0, 0], "minmax", [0, 0]),
        ([0, 0], "signed", [0, 0]),
        ([-3, -1], "max", [0, 0]),
        ([-3, -1], "minmax", [0, 1]),
        ([NAN, INF, -INF, 2, 1], "max", [0, 0, 0, 1, 0.5]),
        ([NAN, INF, -INF, 2, 1], "minmax", [0, 0, 0, 1, 0]),
        ([NAN, -4, 2], "signed", [0, -1, 0.5]),
        ([NAN, NAN], "signed", [0, 0]),
        ([5e-324, 0], "max", [1, 0]),
        ([-1.7e308, 1.7e308, 0], "minmax", [0, 1, 0.5]),
        ([], "max", []),
    ],
)
def test_normalise_has_a_defined_outcome(
    map: list[float], mode: Any, expected: list[float]
) -> None:
    result = normalise(np.array(map), mode)
    np.testing.assert_allclose(result, np.array(expected), rtol=1e-6)
    assert result.dtype == np.float32


def test_normalise_takes_the_limits_of_others_and_stops_at_them() -> None:
    np.testing.assert_array_equal(
        normalise(np.array([-1, 1, 2, 9]), limits=(0, 4)), [0, 0.25, 0.5, 1]
    )
    np.testing.assert_array_equal(normalise(np.array([-9, 0, 4]), "signed", (-8, 8)), [-1, 0, 0.5])
    np.testing.assert_array_equal(normalise(np.array([1e308]), limits=(0, 1e-300)), [1])


@settings(max_examples=100, deadline=None)
@given(
    map=arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=st.floats(width=64)),
    mode=st.sampled_from(["max", "minmax", "signed"]),
)
def test_normalise_stays_in_its_range_and_keeps_the_order(map: NDArray[Any], mode: Any) -> None:
    level = normalise(map, mode)
    assert level.shape == map.shape
    assert level.min() >= (-1 if mode == "signed" else 0)
    assert level.max() <= 1
    finite = np.isfinite(map)
    order = np.argsort(map[finite], kind="stable")
    assert (np.diff(level[finite][order]) >= 0).all()


@pytest.mark.parametrize(
    ("mode", "expected"), [("max", (0, 3)), ("minmax", (-5, 3)), ("signed", (-5, 5))]
)
def test_value_range_is_in_raw_units(mode: Any, expected: tuple[float, float]) -> None:
    assert value_range(np.array([[NAN, -5.0], [3.0, INF]]), mode) == expected


def test_what_cannot_be_normalised_is_said() -> None:
    with pytest.raises(UsageError, match="unknown mode 'softmax'"):
        normalise(np.ones(2), "softmax")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown mode"):
        normalise(np.ones(2), "softmax", (0, 1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="complex"):
        normalise(np.ones(2, complex))
    for limits in ((1, 0), (0, NAN), (-INF, 0)):
        with pytest.raises(UsageError, match="do not rise"):
            normalise(np.ones(2), limits=limits)


def test_the_tables_are_what_the_tool_makes() -> None:
    from make_colours import tables

    made = tables()
    for row, name in zip(made, COLORMAPS, strict=True):
        np.testing.assert_array_equal(colormap(name), row, name)


def lightness(name: str) -> NDArray[np.float64]:
    result: NDArray[np.float64] = rgb2lab(colormap(name) / 255)[:, 0]
    return result


@pytest.mark.parametrize(
    ("name", "sign"), [("ember", 1), ("marine", 1), ("gray", 1), ("blush", -1)]
)
def test_sequential_colour_maps_have_monotone_lightness(name: str, sign: int) -> None:
    steps = sign * np.diff(lightness(name))
    # A step of 1/255 in one channel can be lost to rounding, never more than a tenth of L*.
    assert steps.min() > -0.1
    assert sign * (lightness(name)[-1] - lightness(name)[0]) > 60


def unevenness(table: NDArray[np.uint8]) -> float:
    """Longest over shortest CIELAB distance between every sixteenth colour."""
    steps = np.linalg.norm(np.diff(rgb2lab(table[::16] / 255), axis=0), axis=1)
    return float(steps.max() / steps.min())


def test_colour_maps_are_perceptually_even() -> None:
    for name in ("ember", "marine", "gray", "blush"):
        assert unevenness(colormap(name)) < 1.2, name
    middle = STEPS // 2
    assert unevenness(colormap("bluered")[: middle + 1]) < 1.2
    assert unevenness(colormap("bluered")[middle:]) < 1.2
    assert unevenness(colormap("jet")) > 2  # what the measure is for


def test_the_diverging_map_is_neutral_and_lightest_at_zero() -> None:
    table = colormap("bluered")
    light = lightness("bluered")
    assert np.ptp(table[STEPS // 2].astype(int)) <= 3
    assert light.argmax() == STEPS // 2
    assert abs(light[0] - light[-1]) < 5
    assert bytes(table[0]).hex() == "1c4a9e"  # blue below
    assert bytes(table[-1]).hex() == "a3182b"  # red above


def test_colours_have_the_literal_ends() -> None:
    np.testing.assert_array_equal(colours(np.array([0, 1]), "gray"), [[0, 0, 0], [255, 255, 255]])
    np.testing.assert_array_equal(
        colours(np.array([0, 0.5, 1]), "jet"), [[0, 0, 128], [128, 255, 128], [128, 0, 0]]
    )
    signed = colours(np.array([-1.0, 0.0, 1.0]), "bluered", signed=True)
    np.testing.assert_array_equal(signed, colormap("bluered")[[0, STEPS // 2, -1]])
    with pytest.raises(
        UsageError, match=r"no colour map 'verdant'.*\. Choose one of ember, marine"
    ):
        colormap("verdant")


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_colour_map_is_a_table_that_nobody_can_change(name: str) -> None:
    table = colormap(name)
    assert table.shape == (STEPS, 3)
    assert table.dtype == np.uint8
    assert len(np.unique(table, axis=0)) > 200
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 0


def test_overlay_blends_by_alpha() -> None:
    map = np.ones((2, 2))
    np.testing.assert_array_equal(overlay(GRAY, map, alpha=0), GRAY)
    white = overlay(GRAY, map, alpha=1, colormap="gray")
    np.testing.assert_array_equal(white, np.full_like(GRAY, 255))
    half = overlay(GRAY, map, alpha=0.5, colormap="gray")
    np.testing.assert_array_equal(half, np.full_like(GRAY, 178))  # 177.5, to even
    assert (GRAY == 100).all()


def test_overlay_by_value_leaves_the_picture_where_the_map_is_zero() -> None:
    map = np.repeat([[0.0, 0.0, 0.0, 0.25, 1.0, 1.0]], 4, axis=0)
    result = overlay(GRAY, map, alpha=1, alpha_by_value=True, colormap="gray")
    np.testing.assert_array_equal(result[:, :3], GRAY[:, :3])
    quarter = int(colours(np.array([0.25]), "gray")[0, 0])
    assert result[0, 3, 0] == round(100 + 0.5 * (quarter - 100))  # the root of 0.25
    np.testing.assert_array_equal(result[:, 4:], np.full((4, 2, 3), 255))


def test_a_signed_overlay_is_blue_below_red_above_and_untouched_at_zero() -> None:
    result = overlay(GRAY, np.repeat([[-3.0, -3, 0, 0, 3, 3]], 4, axis=0), signed=True)
    assert result[0, 0, 2] > result[0, 0, 0]
    assert result[0, 5, 0] > result[0, 5, 2]
    np.testing.assert_array_equal(result[:, 2:4], GRAY[:, 2:4])


def test_the_box_takes_the_map_and_the_rest_is_dimmed_or_kept() -> None:
    inside = np.zeros(GRAY.shape[:2], bool)
    inside[1:3, 2:5] = True
    dimmed = overlay(GRAY, np.ones((1, 1)), box=(2, 1, 5, 3), alpha=1, colormap="gray")
    np.testing.assert_array_equal(dimmed[inside], 255)
    np.testing.assert_array_equal(dimmed[~inside], 45)
    kept = overlay(
        GRAY, np.ones((1, 1)), box=(2.4, 0.6, 5.3, 3.1), alpha=1, colormap="gray", outside="keep"
    )
    np.testing.assert_array_equal(kept[inside], 255)
    np.testing.assert_array_equal(kept[~inside], 100)


def test_a_box_beyond_the_picture_shows_the_part_of_the_map_that_lies_on_it() -> None:
    # A letterboxed input: the map's first and last row of cells lie above and below the picture.
    map = np.repeat([[8.0], [1.0], [1.0], [8.0]], 2, axis=1)
    result = overlay(GRAY, map, box=(0, -40, 6, 44), alpha=1, colormap="gray", limits=(0, 8))
    # In the middle the weights are (-1, 9, 9, -1) / 16, which gives 1/8, and the limit is 8.
    middle = int(colours(np.array(1 / 64), "gray")[0])
    assert np.abs(result.astype(int) - middle).max() <= 3


def test_a_map_larger_than_its_box_is_averaged_not_picked_from() -> None:
    checks = np.indices((40, 60)).sum(axis=0) % 2 * 2.0
    result = overlay(GRAY, checks, alpha=1, colormap="gray")
    np.testing.assert_array_equal(
        result, np.broadcast_to(colours(np.array(0.5), "gray"), GRAY.shape)
    )


@pytest.mark.parametrize("size", [(9, 7), (8, 30), (1, 1), (33, 12)])
def test_a_larger_map_is_averaged_as_by_scikit_image(size: tuple[int, int]) -> None:
    map = np.random.default_rng(1).standard_normal((31, 29))
    smaller = (min(31, size[0]), min(29, size[1]))
    expected = upsample(resize_local_mean(map, smaller, preserve_range=True), size)
    np.testing.assert_array_equal(blend._at_size(map, size, smooth=True), expected)


@pytest.mark.parametrize("size", [(4, 6), (2, 2), (40, 60)])
def test_a_bad_value_does_not_spread_over_the_picture(size: tuple[int, int]) -> None:
    map = np.ones(size)
    zero = map.copy()
    map[0, 0], zero[0, 0] = NAN, 0
    np.testing.assert_array_equal(overlay(GRAY, map), overlay(GRAY, zero))


def test_the_scale_is_the_raw_maps_whatever_the_resampling_does() -> None:
    # Bicubic overshoots beyond the largest raw value: that takes the end's colour, not a new scale.
    tall = np.zeros((60, 6, 3), np.uint8)
    result = overlay(tall, np.array([[0.0], [0.0], [1.0], [1.0]]), alpha=1, colormap="gray")
    assert (result[47:, 0, 0] == 255).all()


def test_bands_do_not_show() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (600, 5, 3), dtype=np.uint8)
    map = rng.standard_normal((7, 5))
    whole = overlay(picture, map)
    for first in (250, 300):  # across the edge of a band at 256, and not
        part = overlay(picture[first : first + 20], map, box=(0, -first, 5, 600 - first))
        np.testing.assert_array_equal(part, whole[first : first + 20])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"picture": GRAY / 255}, InputError, "float64.*uint8"),
        ({"picture": GRAY[..., 0]}, InputError, r"shape \(4, 6\)"),
        ({"picture": GRAY[:0]}, InputError, "cannot be drawn on"),
        ({"map": np.ones((1, 2, 2))}, InputError, "without batch and target"),
        ({"map": np.ones((0, 9))}, InputError, "does not fit"),
        ({"map": np.ones((2, 2), complex)}, InputError, "no real numbers"),
        ({"box": (6, 0, 9, 4)}, InputError, "covers no pixel"),
        ({"box": (3, 3, 1, 1)}, InputError, "covers no pixel"),
        ({"box": (0, 0, NAN, 1)}, InputError, "no finite edges"),
        ({"alpha": 1.5}, UsageError, "alpha 1.5"),
        ({"outside": "blur"}, UsageError, "unknown outside 'blur'"),
        ({"colormap": "hotter"}, UsageError, "no colour map 'hotter'"),
    ],
)
def test_what_cannot_be_overlaid_is_said(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        arguments: dict[str, Any] = {"picture": GRAY, "map": np.ones((2, 2))}
        overlay(**(arguments | change))


def test_save_png_keeps_every_pixel_and_leaves_no_draft(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = tmp_path / "map.png"
    path.write_text("an older file")
    with path.open() as reader:
        save_png(picture, path)
        assert reader.read() == "an older file"  # it was moved away, not written over
    with Image.open(path) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert [file.name for file in tmp_path.iterdir()] == ["map.png"]


def test_where_writing_fails_the_older_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    path.write_text("an older file")
    with pytest.raises(OnnxcamError, match="cannot write"):
        save_png(Image.new("F", (2, 2)), path)  # a mode that PNG does not have
    assert path.read_text() == "an older file"
    assert [file.name for file in tmp_path.iterdir()] == ["map.png"]


@pytest.mark.parametrize("place", ["none/map.png", "file/map.png", "folder"])
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OnnxcamError, match=r"cannot be written .*(folder first|not a folder)"):
        save_png(GRAY, tmp_path / place)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


def test_an_array_that_is_no_picture_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float64"):
        save_png(np.ones((2, 2)), tmp_path / "map.png")
