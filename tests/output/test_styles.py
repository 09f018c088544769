"""The ways to show a map: what is where, on small pictures with known values."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.dom.minidom import parseString

import numpy as np
import pytest
from onnx import helper
from PIL import Image
from support import nets

import onnxcam
from onnxcam import methods
from onnxcam.errors import UsageError
from onnxcam.inputs import InputSpec
from onnxcam.output import render
from onnxcam.output.render import STYLES, Panel, figure_1d, figure_bars, figure_panels, painted
from onnxcam.output.render.colour import COLORMAPS, colormap, colours, value_range
from onnxcam.output.render.draw import MARGIN
from onnxcam.output.render.signals import _columns
from onnxcam.output.render.styles import _BLANK
from onnxcam.output.render.vector import erased, written

RNG = np.random.default_rng(3)
PICTURE = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
MAP = np.zeros((24, 32), np.float32)
MAP[8:16, 10:20] = 2.0


def test_a_relief_shows_the_sign_of_each_colour_on_grey() -> None:
    relief = np.zeros((3, 24, 32), np.float32)
    relief[0, 4, 5], relief[2, 9, 9] = 1.0, -0.5
    shown = painted("relief", PICTURE, MAP, relief=relief)
    assert shown[4, 5].tolist() == [255, 128, 128]
    assert shown[9, 9].tolist() == [128, 128, 64]
    assert (shown[0, 0] == 128).all()


def test_a_relief_of_other_channels_is_grey_and_shows_the_loudest() -> None:
    relief = np.zeros((2, 24, 32), np.float32)
    relief[:, 4, 5] = 0.2, -1.0
    relief[:, 9, 9] = 1.0, 0.3
    shown = painted("relief", PICTURE, MAP, relief=relief)
    assert shown[4, 5].tolist() == [0, 0, 0]
    assert shown[9, 9].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(
        painted("relief", PICTURE, relief[1]), painted("relief", PICTURE, MAP, relief=relief[1:])
    )


def test_heat_is_the_colours_alone_and_nothing_where_the_map_is_not() -> None:
    shown = painted("heat", PICTURE, MAP, colormap="gray", smooth=False)
    assert (shown[8:16, 10:20] == 255).all() and (shown[:8] == 0).all()
    part = painted("heat", PICTURE, np.ones((2, 2)), box=(8, 4, 20, 40), colormap="gray")
    assert (part[4:, 8:20] == 255).all()
    assert (part[:4] == _BLANK).all() and (part[:, 20:] == _BLANK).all()


def test_contours_go_round_what_is_high_and_leave_the_rest_as_it_is() -> None:
    large = np.repeat(np.repeat(PICTURE, 10, 0), 10, 1)
    shown = painted("contour", large, MAP)
    changed = (shown != large).any(axis=-1)
    assert changed[75:85, 110:190].any(axis=0).all()  # the upper edge
    assert not changed[110:130, 140:160].any() and not changed[:40].any()
    both = painted("contour", large, np.where(MAP > 0, MAP, -MAP.max()), signed=True)
    assert (both != large).any()


def test_side_shows_heat_and_overlay_beside_the_picture() -> None:
    bare: dict[str, Any] = {"title": "", "colorbar": False, "size": 64}
    three = render.figure(PICTURE, MAP, style="side", **bare)
    two = render.figure(PICTURE, MAP, style="heat", **bare)
    assert three.width > two.width
    with pytest.raises(UsageError, match="no style 'foggy'"):
        render.figure(PICTURE, MAP, style="foggy", **bare)  # type: ignore[arg-type]


def test_outliers_do_not_darken_the_rest() -> None:
    map = np.ones(1000)
    map[0] = 1000
    assert value_range(map, "max") == (0, 1000)
    assert value_range(map, "max", 99) == (0, 1)
    assert value_range(-map, "signed", 99) == (-1, 1)
    assert value_range(-map, "max", 99) == (0, 0)
    sparse = np.zeros(1000)
    sparse[3] = 2.0
    assert value_range(sparse, "max", 99) == (0, 2)  # else nothing were to be seen


def test_a_figure_says_where_its_colours_end() -> None:
    map = np.ones((24, 32))
    map[0, 0] = 100
    clipped = render.figure(PICTURE, map, title="", clip=99)
    assert any("99th percentile" in w.text for w in written(clipped))
    assert not any("percentile" in w.text for w in written(render.figure(PICTURE, map, title="")))
    within = render.figure(PICTURE, np.ones((4, 4)), title="", clip=99)
    assert not any("percentile" in w.text for w in written(within))


def test_nearest_is_drawn_in_squares() -> None:
    shown = render.overlay(PICTURE, np.array([[0.0, 1.0]]), alpha=1, colormap="gray", smooth=False)
    assert (shown[:, :16] == 0).all() and (shown[:, 16:] == 255).all()
    e = onnxcam.Explainer(nets.cnn(channels=3), preprocess="unit", upsampling="nearest")(PICTURE)
    coarse = e.image(scale=12, alpha=1, outside="keep")
    cells = len({tuple(c) for c in coarse.reshape(-1, 3).tolist()})
    assert cells <= e.raw_map.size


@pytest.mark.parametrize("name", ["saliency", "guided-backprop", "input-x-gradient", "gradcam"])
def test_each_method_is_drawn_as_its_paper_does(name: str) -> None:
    style = methods.find(name).style
    assert style == {"gradcam": "overlay", "guided-backprop": "relief"}.get(name, "heat")
    e = onnxcam.Explainer(nets.cnn(channels=3), name, preprocess="unit")(PICTURE)
    assert e.style == style
    np.testing.assert_array_equal(e.image(), e.image(style))
    for other in STYLES:
        assert e.image(other, scale=2).shape == (48, 64, 3)
        assert e.figure(style=other).width > 200


RELIEFS = [n for n in methods.names("graph") if methods.graph(n).relief is not None]


@pytest.mark.parametrize("name", [*RELIEFS, "smoothgrad", "integrated-gradients"])
def test_what_a_map_is_made_of_adds_up_to_it(name: str) -> None:
    """A relief is the same values as the map: their sum, or the largest of them."""
    e = onnxcam.Explainer(nets.cnn(channels=3), name, preprocess="unit")(PICTURE)
    assert e.relief is not None and e.relief.shape == (3, *e.raw_map.shape)
    made = e.relief.sum(0) if e.signed else np.abs(e.relief).max(0)
    np.testing.assert_allclose(made, e.raw_map, rtol=1e-4, atol=1e-6)


def test_a_relief_is_red_green_blue_whatever_the_model_takes() -> None:
    proto = nets.cnn(channels=3)
    rgb, bgr = (InputSpec(channels=c) for c in ("RGB", "BGR"))
    first = onnxcam.Explainer(proto, "saliency", preprocess=rgb)(PICTURE)
    other = onnxcam.Explainer(proto, "saliency", preprocess=bgr)(PICTURE[:, :, ::-1].copy())
    assert first.relief is not None and other.relief is not None
    np.testing.assert_allclose(first.relief, other.relief[::-1], atol=1e-6)


def test_panels_say_on_which_scale_they_are() -> None:
    panels = [Panel(PICTURE, title="in"), Panel(PICTURE, MAP, "a"), Panel(PICTURE, 2 * MAP, "b")]
    own, one = (figure_panels(panels, scale=s) for s in ("own", "one"))  # type: ignore[arg-type]
    assert any("scale of its own" in w.text for w in written(own))
    assert any("all maps on one scale" in w.text for w in written(one))
    assert sum(w.text == "4" for w in written(one)) == 1  # the end of the only bar
    assert {"a", "b", "in"} <= {w.text for w in written(own)}
    for wrong in ({"columns": 0}, {"scale": "two"}):
        with pytest.raises(UsageError):
            figure_panels(panels, **wrong)  # type: ignore[arg-type]


def test_one_scale_makes_equal_values_equal_colours() -> None:
    weak, strong = np.full((4, 4), 1.0), np.full((4, 4), 2.0)
    how: render.Blending = {"alpha": 1, "colormap": "gray"}
    panels = [Panel(PICTURE, m, blending=how) for m in (weak, strong)]
    shown = np.asarray(figure_panels(panels, scale="one", size=120, columns=2))
    row = shown[MARGIN + 40, :, 0]
    assert row[MARGIN + 60] == colours(np.array(0.5), "gray")[0]
    assert row[MARGIN + 120 + 16 + 60] == 255


@pytest.mark.parametrize("channels", [1, 3, 64])
def test_a_signal_has_its_importance_below(channels: int) -> None:
    signal = RNG.standard_normal((channels, 500))
    map = np.zeros(100)
    map[20:40] = 3.0
    drawn = figure_1d(signal, map, title="", colorbar=False)
    assert any("importance, up to 3" in w.text for w in written(drawn))
    rows = np.asarray(drawn)[-100:].astype(int)
    columns = np.flatnonzero((rows.max(-1) - rows.min(-1) > 60).any(axis=0))
    left = drawn.width - MARGIN - 960
    assert left + 160 < columns.min() < left + 200 and left + 370 < columns.max() < left + 410


def test_no_peak_of_a_long_signal_is_lost() -> None:
    long = np.zeros(100_000)
    long[12_345] = 9.0
    assert _columns(long, 960, smooth=True).max() == 9.0
    assert _columns(-long, 960, smooth=True).min() == -9.0
    drawn = np.asarray(figure_1d(long, np.zeros(4), title="", colorbar=False))
    flat = np.asarray(figure_1d(0 * long, np.zeros(4), title="", colorbar=False))
    at = MARGIN + round(12_345 / 100_000 * 960)
    assert (drawn[:, at - 3 : at + 3] != flat[:, at - 3 : at + 3]).any()


def test_a_table_has_a_bar_for_each_feature_the_strongest_first() -> None:
    values, map = np.arange(40.0), np.linspace(-1, 3, 40)
    drawn = figure_bars(values, map, title="row", signed=True, most=5)
    texts = [w.text for w in written(drawn)]
    assert texts.index("feature 39 = 39") < texts.index("feature 38 = 38")
    assert any("the 5 strongest of 40" in t for t in texts)
    with pytest.raises(UsageError, match="1 names for 40 features"):
        figure_bars(values, map, title="", names=["a"])


def test_a_row_of_a_table_is_drawn_as_bars() -> None:
    weights = {"w": RNG.standard_normal((5, 3)).astype("f4")}
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    proto = nets.model([node], {"x": ["N", 5]}, {"y": ["N", 3]}, weights)
    e = onnxcam.Explainer(proto, "input-x-gradient")(np.arange(5, dtype=np.float32)[None])
    assert any(w.text.startswith("feature 4") for w in written(e.figure()))


def test_colour_maps_go_by_any_case_and_matplotlibs_are_taken() -> None:
    np.testing.assert_array_equal(colormap("VIRIDIS"), colormap("viridis"))
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for name in ("viridis", "inferno", "cividis", "turbo"):
        assert name in COLORMAPS
        want = 255 * matplotlib.colormaps[name](np.linspace(0, 1, 257))[:, :3]
        assert np.abs(colormap(name) - want).max() < 6
    np.testing.assert_array_equal(colormap("rdbu_R"), colormap("RdBu_r"))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_file_holds_the_figure(tmp_path: Path, ending: str) -> None:
    drawn = render.figure(PICTURE, MAP, title="cat")
    render.save_image(drawn, tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as read:
        error = np.abs(np.asarray(read.convert("RGB")).astype(int) - np.asarray(drawn))
    assert error.max() == 0 if ending == "png" else error.mean() < 8
    with pytest.raises(UsageError, match="no picture ends in '.bmp'"):
        render.save_image(drawn, tmp_path / "a.bmp")


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (3, 4), (400, 3, 3)])
def test_a_png_is_what_was_given(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    render.save_png(pixels, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        read.load()
        np.testing.assert_array_equal(np.asarray(read), pixels)


def test_text_stays_text_in_svg(tmp_path: Path) -> None:
    drawn = render.figure(PICTURE, MAP, title="cat <& 93 %", subtitle="gradcam at relu")
    render.save_image(drawn, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    found = parseString(text).getElementsByTagName("text")
    said = [t.firstChild.data for t in found]  # type: ignore[union-attr]
    assert "cat <& 93 %" in said and "gradcam at relu" in said
    bare = np.asarray(erased(drawn))[MARGIN : MARGIN + 20]
    assert (bare == 255).all()  # no letters are left below the text


def test_the_figure_says_how_the_picture_was_prepared() -> None:
    e = onnxcam.Explainer(nets.cnn(channels=3), preprocess="unit")(PICTURE)
    assert "RGB" in e.preprocessing
    assert any(w.text.startswith("input: ") for w in written(e.figure()))
